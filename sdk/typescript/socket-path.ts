import { existsSync } from 'node:fs';
import { DEFAULT_SOCKET_PATH } from '../../kernel/protocol/constants.ts';

/** What an agent finds inside its sandbox. */
const SANDBOX_SOCKET_PATH = '/run/clove.sock';

/** $CLOVE_SOCKET, else the socket of the sandbox this runs in, else the default of the kernel. */
export function defaultSocketPath(): string {
  const named = process.env.CLOVE_SOCKET;
  if (named !== undefined && named !== '') return named;
  return existsSync(SANDBOX_SOCKET_PATH) ? SANDBOX_SOCKET_PATH : DEFAULT_SOCKET_PATH;
}
