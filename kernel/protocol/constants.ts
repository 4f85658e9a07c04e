/** Numbers of the wire protocol. Light on purpose: clients inside sandboxes import it at start-up. */

/** First four bytes of every frame, as a little-endian u32. */
export const MAGIC = 0x41474e54;

/** magic u32 | agent id u32 | opcode u8 | payload length u64, little-endian. */
export const HEADER_BYTES = 17;

/** Largest payload of a request; a larger one is answered with an error and the connection ends. */
export const MAX_PAYLOAD_BYTES = 2 ** 20;

/** Largest payload of an answer that a client has to expect: the server keeps no more than this for one peer. */
export const MAX_ANSWER_BYTES = 64 * 2 ** 20;

export const PROTOCOL_VERSION = 1;

/** Where the kernel listens, and what an agent finds inside its sandbox. */
export const DEFAULT_SOCKET_PATH = '/tmp/clove.sock';
