/**
 * The one map of opcode numbers. Light on purpose: clients inside sandboxes import it at start-up.
 * Numbers below 0xD0 and 0xF0, 0xFE, 0xFF are those of existing clients; Clove's own are chosen where nothing collides.
 */
export const OPCODES = {
  NOOP: 0x00,
  /** Asks the kernel's model. */
  THINK: 0x01,
  EXEC: 0x02,
  READ: 0x03,
  WRITE: 0x04,
  SPAWN: 0x10,
  KILL: 0x11,
  LIST: 0x12,
  PAUSE: 0x14,
  RESUME: 0x15,
  /** Waits for an agent's end and tells how it ended. */
  WAIT: 0x16,
  /** The last output of an agent. */
  LOGS: 0x17,
  /** New code for an agent. */
  RELOAD: 0x18,
  SEND: 0x20,
  RECV: 0x21,
  BROADCAST: 0x22,
  REGISTER: 0x23,
  STORE: 0x30,
  FETCH: 0x31,
  DELETE: 0x32,
  KEYS: 0x33,
  CAS: 0x34,
  WATCH: 0x35,
  GET_PERMS: 0x40,
  SET_PERMS: 0x41,
  HTTP: 0x50,
  /** HTTP into a file. */
  DOWNLOAD: 0x51,
  SUBSCRIBE: 0x60,
  UNSUBSCRIBE: 0x61,
  POLL_EVENTS: 0x62,
  EMIT: 0x63,
  RECORD_START: 0x70,
  RECORD_STOP: 0x71,
  RECORD_STATUS: 0x72,
  REPLAY_START: 0x73,
  REPLAY_STATUS: 0x74,
  GET_AUDIT_LOG: 0x76,
  SET_AUDIT_CONFIG: 0x77,
  AUDIT_QUERY: 0x78,
  AUDIT_VERIFY: 0x79,
  ASYNC_POLL: 0x80,
  SET_QUOTA: 0x92,
  GET_QUOTA: 0x93,
  TASK_CREATE: 0x94,
  TASK_ASSIGN: 0x95,
  TASK_STATUS: 0x96,
  TASK_COMPLETE: 0x97,
  TASK_LIST: 0x98,
  METRICS_SYSTEM: 0xc0,
  METRICS_AGENT: 0xc1,
  METRICS_ALL_AGENTS: 0xc2,
  METRICS_CGROUP: 0xc3,
  LLM_REPORT: 0xf0,
  HELLO: 0xfe,
  EXIT: 0xff,
} as const;

export type SyscallName = keyof typeof OPCODES;
