import { Option } from 'commander';
import type { CloveClient } from '../sdk/typescript/index.ts';

export const SOCKET_OPTION = () =>
  new Option('--socket <path>', 'socket of the kernel (default: /tmp/clove.sock)').env('CLOVE_SOCKET');

/** A person can press Ctrl-C; what a busy machine takes long for should not end half done. */
const PATIENCE_MS = 120_000;

/** Runs `work` with a client of the kernel and closes it afterwards. Throws UNREACHABLE. */
export async function withKernel<T>(
  flags: { readonly socket?: string },
  work: (client: CloveClient) => Promise<T>,
): Promise<T> {
  const { connect } = await import('../sdk/typescript/index.ts');
  const client = await connect({
    ...(flags.socket === undefined ? {} : { socketPath: flags.socket }),
    timeoutMs: PATIENCE_MS,
    reconnect: false,
  });
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** "12" is an id, everything else a name. */
export function parseTarget(text: string): number | string {
  return /^\d{1,15}$/.test(text) ? Number(text) : text;
}
