import { hash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { Agent } from '../agents/agent.ts';
import type { ProcessEntry } from './format.ts';
import type { Redactor } from './redactor.ts';

const MAX_SCRIPT_BYTES = 16 * 2 ** 20;
/** Output of one incarnation kept in its exit entry. */
const MAX_STDOUT_BYTES = 256 * 1024;

/** What one start of an agent consisted of, secrets taken out. */
export function processEntry(
  agent: Agent,
  incarnation: number,
  fromStart: boolean,
  redactor: Redactor,
): Omit<ProcessEntry, 'seq'> {
  const { sandbox, request } = agent.plan;
  redactor.learnEnvironment(sandbox.env);
  const facts = redactor.redactValue({
    request: request === null ? null : (JSON.parse(JSON.stringify(request)) as unknown),
    argv: [...sandbox.argv],
  });
  const script = request?.script ?? null;
  return {
    type: 'process',
    agent: agent.id,
    incarnation,
    name: agent.name,
    parent: agent.parentId,
    from_start: fromStart,
    at: new Date(agent.startedAt).toISOString(),
    request: facts.value.request,
    argv: facts.value.argv,
    cwd: sandbox.cwd,
    env_names: Object.keys(sandbox.env).sort(),
    seed: sandbox.env.CLOVE_SEED ?? null,
    script: script === null || script === '' ? null : { path: script, ...fingerprint(script) },
    redactions: facts.count,
  };
}

/** Hash of a script as it is now; nulls when it cannot be read. */
export function fingerprint(script: string): { sha256: string | null; bytes: number | null } {
  try {
    const stats = statSync(script);
    if (!stats.isFile() || stats.size > MAX_SCRIPT_BYTES) return { sha256: null, bytes: null };
    const bytes = readFileSync(script);
    return { sha256: hash('sha256', bytes), bytes: bytes.length };
  } catch {
    return { sha256: null, bytes: null };
  }
}

/** What it wrote to stdout since `fromByte`; null = more than was kept. */
export function stdoutSince(agent: Agent, fromByte: number): string | null {
  const wanted = agent.stdout.totalBytes - fromByte;
  if (wanted > agent.stdout.keptBytes || wanted > MAX_STDOUT_BYTES) return null;
  return agent.stdout.tail(wanted).toString('utf8');
}
