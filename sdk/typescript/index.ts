export { CloveError, ERROR_CODES, type ErrorCode, isCloveError } from '../../errors/index.ts';
export { OPCODES } from '../../kernel/protocol/opcodes.ts';
export { CloveClient, connect, type StateScope } from './client.ts';
export { defaultSocketPath } from './socket-path.ts';
export type {
  CallOptions,
  ClientOptions,
  ReceivedEvent,
  ReceivedMessage,
  ReconnectOptions,
  SyscallName,
  SyscallRequest,
  SyscallResponse,
  Target,
  WaitOptions,
} from './types.ts';
