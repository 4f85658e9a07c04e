import { Socket } from 'node:net';
import { errorToData } from '../../errors/index.ts';
import type { Sandbox } from '../../native/types.ts';

/** Of what a check printed, for whoever wants to know why it failed. */
const KEPT_BYTES = 512;
/** Output that a process left behind by the check holds open is not waited for. */
const OUTPUT_MS = 200;

/** Runs a command in the sandbox. null = it ended with 0; else why not. Never rejects. */
export async function execCheck(
  sandbox: Pick<Sandbox, 'exec'>,
  command: {
    readonly argv: readonly string[];
    readonly env: Readonly<Record<string, string>>;
    readonly cwd: string;
    readonly timeoutMs: number;
  },
): Promise<string | null> {
  try {
    const running = await sandbox.exec({ ...command, stdin: null });
    const outputs = [tailOf(running.stdoutFd), tailOf(running.stderrFd)];
    const { exitCode, signal, timedOut } = await running.exited;
    if (exitCode === 0) {
      for (const output of outputs) output.close();
      return null;
    }
    const texts = await Promise.all(outputs.map((output) => output.end(OUTPUT_MS)));
    const said = texts
      .filter((text) => text !== '')
      .join(' ')
      .trim();
    const how = timedOut
      ? `no answer within ${command.timeoutMs} ms`
      : signal !== null
        ? `ended by ${signal}`
        : `status ${exitCode}`;
    return said === '' ? how : `${how}: ${said}`;
  } catch (error) {
    return errorToData(error).message;
  }
}

function tailOf(fd: number): { end(waitMs: number): Promise<string>; close(): void } {
  const socket = new Socket({ fd, readable: true, writable: false });
  let kept = Buffer.alloc(0);
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.on('data', (chunk: Buffer) => {
    kept = Buffer.concat([kept, chunk]).subarray(-KEPT_BYTES);
  });
  socket.on('error', () => socket.destroy());
  socket.on('close', () => resolve());
  socket.on('end', () => socket.destroy());
  return {
    close: () => socket.destroy(),
    async end(waitMs) {
      const timer = setTimeout(() => socket.destroy(), waitMs);
      await promise;
      clearTimeout(timer);
      return kept.toString('utf8');
    },
  };
}
