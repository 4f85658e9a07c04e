import type { Readable } from 'node:stream';
import type { z } from 'zod';
import { CloveError } from '../../../errors/index.ts';
import type { spawnRequest } from '../../../kernel/agents/spawn-request.ts';
import type { LayerReport } from '../../../native/types.ts';
import type { ResolvedDefinition } from '../../../worlds/resolve.ts';
import type { WorldRunOptions, WorldRunRecord } from '../../../worlds/run.ts';
import type { Ended } from '../run.ts';

/** One run of a command in a fresh world, in either form. */
export interface RunOrder {
  readonly form: 'mounted' | 'virtual';
  readonly resolved: ResolvedDefinition & { readonly name: string };
  readonly options: WorldRunOptions;
  readonly request: z.input<typeof spawnRequest> & { readonly command: readonly string[] };
  readonly stdin: Readable | NodeJS.ReadableStream | null;
  readonly logLevel: 'warn' | 'error';
  readonly onOutput: (stream: 'stdout' | 'stderr', chunk: Buffer) => void | Promise<void>;
  readonly signal: AbortSignal;
}

export interface RanOnce {
  readonly exit: Ended;
  readonly layers: readonly LayerReport[];
  readonly record: WorldRunRecord;
}

export async function runOnce(order: RunOrder): Promise<RanOnce> {
  const ran = await (order.form === 'virtual' ? inShell(order) : mounted(order));
  const { exit } = ran;
  const how = exit.reason === 'exited' ? `exit status ${exit.exitCode}` : exit.reason;
  order.options.watch?.run.exited(exit.signal === null ? how : `${how} (${exit.signal})`);
  return ran;
}

async function mounted({
  resolved,
  options,
  request,
  stdin,
  logLevel,
  onOutput,
  signal,
}: RunOrder): Promise<RanOnce> {
  const [{ runForeground }, { worldForCommand }] = await Promise.all([
    import('../../../kernel/foreground.ts'),
    import('../../../worlds/run.ts'),
  ]);
  const told: { record: WorldRunRecord | null } = { record: null };
  const { exit, layers } = await runForeground({
    request,
    kernel: { sandbox: 'required', logLevel },
    stdin,
    onOutput: (stream, chunk) => {
      options.watch?.run.output(stream, chunk);
      return onOutput(stream, chunk);
    },
    signal,
    world: (place) =>
      worldForCommand(resolved, options, place, (record) => {
        told.record = record;
      }),
  });
  const { record } = told;
  if (record === null) throw new CloveError('INTERNAL', 'the world has told nothing of itself');
  return { exit, layers, record };
}

/** The world's shell takes no input, and gives its output when it has ended. */
async function inShell({ resolved, options, request, onOutput, signal }: RunOrder): Promise<RanOnce> {
  const { runVirtually } = await import('../../../worlds/run-virtual.ts');
  const { command, cwd, timeout_ms } = request;
  const ran = await runVirtually(resolved, options, {
    argv: command,
    cwd: cwd ?? null,
    timeoutMs: timeout_ms ?? null,
    signal,
  });
  for (const stream of ['stdout', 'stderr'] as const) {
    const chunk = Buffer.from(ran[stream]);
    if (chunk.length === 0) continue;
    options.watch?.run.output(stream, chunk);
    await onOutput(stream, chunk);
  }
  const { exitCode, record } = ran;
  return {
    exit: { reason: exitCode === null ? 'timeout' : 'exited', exitCode, signal: null },
    layers: [],
    record: ran.truncated
      ? { ...record, warnings: [...record.warnings, 'the output of the shell is bounded, and was cut'] }
      : record,
  };
}
