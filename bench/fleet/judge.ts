/**
 * Judges the work of agents where they cannot reach. Everything in their sandboxes is frozen, what they leave behind is
 * copied and hashed, and they are killed; only then there is a judge. The judge, a program of the scenario, runs in a new sandbox; what they wrote
 * runs in yet another one, the stand, which has the work read-only and knows no answers. The stand answers the judge's questions,
 * the judge alone compares, and its verdict comes over its own socket: the kernel says whose a message is.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { CloveError, errorToData } from '../../errors/index.ts';
import {
  type Artifact,
  type ArtifactLimits,
  type HeldFolder,
  hashOf,
  holdFolder,
  refusalText,
  takeArtifact,
} from './artifacts.ts';
import { type Canary, canaryFinder } from './canary.ts';
import { type Frozen, freezeAll, movedSince } from './freeze.ts';
import { scriptPath } from './spawn.ts';
import type { AgentPermissions, Fleet, FleetAgent, Role } from './types.ts';

/** Where judge and stand find the work. */
const WORK_FOLDER = '/artifact';
const DEFAULT_VERDICT_MS = 60_000;
const MAX_SCANNED_RECORDS = 1000;
const MAX_SCANNED_LOG_BYTES = 2 ** 20;

/** Of judge and stand: messages, and nothing else there is. */
const MESSAGES_ONLY: AgentPermissions = {
  can_exec: false,
  can_read: false,
  can_write: false,
  can_think: false,
  can_spawn: false,
  can_http: false,
  syscalls: { allow: ['NOOP', 'HELLO', 'SEND', 'RECV'] },
};

export interface JudgeRequest {
  /** Whose work. */
  readonly agent: string;
  /** Folder inside its sandbox. */
  readonly path: string;
  /** Role of the program that knows the answers; started now, for the first time. Must be a script. */
  readonly judge: string;
  /** Role of the program that runs the work for the judge. */
  readonly stand: string;
  /** For the judge alone. */
  readonly input?: Readonly<Record<string, unknown>>;
  readonly artifact?: ArtifactLimits;
  /** For all the judge does; more is no verdict. Default 60 000. */
  readonly timeoutMs?: number;
  readonly canaries?: readonly Canary[];
}

/** Why a score is 0 whatever the tests say, or that there is none. Untrusted text. */
export interface Finding {
  readonly kind: 'artifact' | 'canary' | 'egress' | 'verdict';
  readonly text: string;
}

const verdictSchema = z.strictObject({
  tests: z
    .array(
      z.strictObject({
        id: z.string().min(1).max(200),
        passed: z.boolean(),
        observed: z.string().max(2000).default(''),
      }),
    )
    .min(1)
    .max(10_000),
});
export type Verdict = z.output<typeof verdictSchema>;

export interface Judgement {
  /** 1 = every test passed and nothing was found; else 0. */
  readonly score: 0 | 1;
  /** null = there was none. */
  readonly verdict: Verdict | null;
  readonly passed: number;
  readonly findings: readonly Finding[];
  readonly artifact: Artifact | null;
  /** Of all files in the folder of the judge's script: what was judged by. */
  readonly judgeSha256: string;
}

/** What judging needs of a fleet, beside what every oracle has. */
export interface JudgedFleet extends Fleet {
  role(name: string): Role;
  /** Starts one agent of a role, with other permissions and one mount more. */
  spawnJudge(role: string, permissions: AgentPermissions, folder: string, at: string): Promise<FleetAgent>;
}

/** The fleet is over afterwards. What the agents did cannot make this throw. @throws CONFIG, and what the machine lacks */
export async function judgeWork(fleet: JudgedFleet, request: JudgeRequest): Promise<Judgement> {
  if (!fleet.isProtected)
    throw new CloveError('CONFIG', 'work can only be judged where agents have sandboxes');
  const { program } = fleet.role(request.judge);
  if (!('script' in program)) throw new CloveError('CONFIG', 'a judge is a script');
  const judgeSha256 = folderHash(dirname(scriptPath(program.script)));
  const findings: Finding[] = [];
  const artifact = await taken(fleet, request, findings);
  findings.push(...(await touched(fleet, request.canaries ?? [])));
  let verdict: Verdict | null = null;
  if (artifact !== null) {
    try {
      verdict = await verdictOn(fleet, request, artifact);
    } catch (error) {
      if (fleet.signal.aborted) throw error;
      findings.push({ kind: 'verdict', text: errorToData(error).message });
    }
  }
  const passed = verdict?.tests.filter((test) => test.passed).length ?? 0;
  const isWhole = verdict !== null && passed === verdict.tests.length && findings.length === 0;
  const judgement: Judgement = { score: isWhole ? 1 : 0, verdict, passed, findings, artifact, judgeSha256 };
  note(fleet, judgement);
  return judgement;
}

/** Freezes all, copies what stands still, and kills all. null = it could not be taken, and a finding says why. */
async function taken(
  fleet: JudgedFleet,
  request: JudgeRequest,
  findings: Finding[],
): Promise<Artifact | null> {
  const finders = (request.canaries ?? []).map(canaryFinder);
  const leaks = new Set<string>();
  let artifact: Artifact | null = null;
  try {
    const { held, all } = await frozen(fleet, request);
    try {
      artifact = takeArtifact(held, join(fleet.folder, 'judged'), request.artifact, (path, content) => {
        if (finders.some((isIn) => isIn(content) || isIn(path))) leaks.add(path);
      });
    } finally {
      held.close();
    }
    for (const name of await movedSince(fleet.client, all))
      findings.push({ kind: 'artifact', text: `${name} ran while the work was taken` });
  } catch (error) {
    findings.push({ kind: 'artifact', text: refusalText(error) });
  } finally {
    await endAll(fleet);
  }
  for (const path of leaks)
    findings.push({ kind: 'canary', text: `the canary is in ${JSON.stringify(path)}` });
  return artifact;
}

/** @throws NOT_FOUND, PATH_REFUSED */
async function frozen(
  fleet: JudgedFleet,
  { agent, path }: JudgeRequest,
): Promise<{ readonly held: HeldFolder; readonly all: Frozen }> {
  const target = fleet.agent(agent).id;
  const all = await freezeAll(fleet.client, target, fleet);
  const pid = all.get(target) ?? 0;
  if (pid <= 1) throw new CloveError('NOT_FOUND', 'the agent had ended before its work was taken');
  return { held: holdFolder(pid, path), all };
}

/** Also what agents have started: until there is nobody. */
async function endAll(fleet: JudgedFleet): Promise<void> {
  const { client } = fleet;
  for (let left = await client.list(); left.length > 0; left = await client.list()) {
    fleet.signal.throwIfAborted();
    for (const { id } of left)
      await client
        .kill(id, { graceMs: 0 })
        .catch((error) => fleet.log(`judge: ending ${id}: ${errorToData(error).message}`));
  }
  fleet.mark('phase', 'the work is taken, and all agents are dead');
}

/** Canaries in what agents asked of the kernel, sent and printed. */
async function touched(fleet: JudgedFleet, canaries: readonly Canary[]): Promise<Finding[]> {
  if (canaries.length === 0) return [];
  const finders = canaries.map(canaryFinder);
  const isIn = (text: string) => finders.some((finder) => finder(text));
  const findings: Finding[] = [];
  for (const { id, name } of fleet.agents) {
    const { entries, more } = await fleet.client.call('AUDIT_QUERY', {
      agent_id: id,
      limit: MAX_SCANNED_RECORDS,
    });
    for (const { body } of entries)
      if (isIn(JSON.stringify(body)))
        findings.push({
          kind: 'egress',
          text: `${name} asked for the canary: ${String(body.syscall ?? body.event_type)}`,
        });
    if (more)
      fleet.log(`judge: only the newest ${MAX_SCANNED_RECORDS} audit records of ${name} were searched`);
    const logs = await fleet.client.call('LOGS', { id, max_bytes: MAX_SCANNED_LOG_BYTES });
    if (isIn(`${logs.stdout}\n${logs.stderr}`))
      findings.push({ kind: 'canary', text: `${name} printed the canary` });
  }
  for (const { message, from_name } of fleet.messages)
    if (isIn(JSON.stringify(message)))
      findings.push({ kind: 'canary', text: `${from_name ?? 'somebody'} sent the canary` });
  return findings;
}

async function verdictOn(fleet: JudgedFleet, request: JudgeRequest, { folder }: Artifact): Promise<Verdict> {
  const stand = await fleet.spawnJudge(request.stand, MESSAGES_ONLY, folder, WORK_FOLDER);
  const judge = await fleet.spawnJudge(request.judge, MESSAGES_ONLY, folder, WORK_FOLDER);
  const { answer } = await fleet.ask(
    judge.name,
    { judge: WORK_FOLDER, stand: { name: stand.name, id: stand.id }, input: request.input ?? {} },
    { timeoutMs: request.timeoutMs ?? DEFAULT_VERDICT_MS, what: 'the verdict' },
  );
  const parsed = verdictSchema.safeParse(answer.verdict);
  if (!parsed.success)
    throw new CloveError('BAD_REQUEST', `the verdict makes no sense: ${parsed.error.issues[0]?.message}`);
  return parsed.data;
}

/** Into the record of the trial. */
function note(
  fleet: JudgedFleet,
  { score, verdict, passed, findings, artifact, judgeSha256 }: Judgement,
): void {
  fleet.fact('artifactSha256', artifact?.sha256 ?? null);
  fleet.fact('artifactFiles', artifact?.files.length ?? null);
  fleet.fact('artifactBytes', artifact?.bytes ?? null);
  fleet.fact('judgeSha256', judgeSha256);
  fleet.fact(
    'findings',
    findings
      .map(({ kind, text }) => `${kind}: ${text}`)
      .join('; ')
      .slice(0, 2000) || null,
  );
  for (const { kind, text } of findings) fleet.mark('note', `${kind}: ${text}`.slice(0, 500));
  fleet.mark('phase', `verdict: ${passed} of ${verdict?.tests.length ?? 0} tests, score ${score}`);
}

function folderHash(folder: string): string {
  const lines = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => !path.includes('__pycache__') && statSync(join(folder, path)).isFile())
    .sort()
    .map((path) => `${hashOf(readFileSync(join(folder, path)))} ${path}\n`);
  return hashOf(lines.join(''));
}
