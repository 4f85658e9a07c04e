import type { Agent } from '../agents/agent.ts';
import type { RunEnd } from './output-hash.ts';

export function endOf(agent: Agent, stdout: string | null): RunEnd {
  const exit = agent.lastExit;
  return {
    reason: exit?.reason ?? 'setup',
    exitCode: exit?.exitCode ?? null,
    signal: exit?.signal ?? null,
    stdout,
  };
}

export function describe({ reason, exitCode, signal }: RunEnd): string {
  if (reason === 'exited') return `exit code ${exitCode}`;
  return signal === null ? reason : `${reason} ${signal}`;
}

/** The first line that differs, of both. */
export function firstDifference(recorded: string, actual: string): [string, string] {
  const [then, now] = [recorded.split('\n'), actual.split('\n')];
  const at = then.findIndex((line, index) => line !== now[index]);
  const index = at < 0 ? then.length : at;
  return [then[index] ?? '(no such line)', now[index] ?? '(no such line)'];
}
