/** The public surface of the kernel. */
export { AGENT_STATES, type Agent, type AgentExit, type AgentState } from './agents/agent.ts';
export { RESTART_POLICIES, type RestartPolicy } from './agents/restart-policy.ts';
export { createKernel, type Kernel, type KernelExtensions, type RunningKernel } from './kernel.ts';
export {
  DEFAULT_DATA_DIRECTORY,
  DEFAULT_RUN_DIRECTORY,
  type KernelOptions,
  type UserKernelOptions,
} from './options.ts';
export { DEFAULT_SOCKET_PATH, PROTOCOL_VERSION } from './protocol/constants.ts';
export { OPCODES, type SyscallName } from './protocol/opcodes.ts';
export { KERNEL_VERSION } from './protocol/version.ts';
export type { SyscallDefinition } from './syscalls/define.ts';
export { SYSCALLS, type SyscallRequest, type SyscallResponse } from './syscalls/table.ts';
