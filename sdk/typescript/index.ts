export { CloveError, ERROR_CODES, type ErrorCode, isCloveError } from '../../errors/index.ts';
export { OPCODES } from '../../kernel/protocol/opcodes.ts';
export {
  type AsyncResult,
  CloveClient,
  connect,
  type ExecResult,
  type HttpResult,
  type StateScope,
  type Task,
  type ThinkResult,
} from './client.ts';
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
