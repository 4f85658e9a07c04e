import { z } from 'zod';
import { HEADER_BYTES, MAX_PAYLOAD_BYTES } from '../protocol/constants.ts';

/** Of one message of a relay: the largest request in base64, with room for its other members. */
export const MAX_MESSAGE_BYTES = Math.ceil((MAX_PAYLOAD_BYTES + HEADER_BYTES) / 3) * 4 + 4096;
/** What a relay takes that does not say how much: the usual limit of WebSocket servers. */
export const USUAL_RELAY_BYTES = 2 ** 20;

const relayAgentId = z
  .int()
  .min(0)
  .max(2 ** 32 - 1);
const text = z.string().max(1024);

const syscall = z.object({
  type: z.literal('syscall'),
  agent_id: relayAgentId,
  opcode: z.int().min(0).max(255),
  /** Base64. */
  payload: z.string().default(''),
  /** Handed back with the answer, so that a client knows which of its calls it is to. */
  id: z.union([z.int(), z.string().max(128)]).optional(),
  /** Rises from call to call of one connection of the agent: a call whose number was there already is not made again. */
  seq: z.int().min(0).optional(),
  /** The call is made once, whatever becomes of connections meanwhile. */
  idempotency_key: z.string().min(1).max(128).optional(),
});

const remote = z.object({
  agent_id: relayAgentId,
  agent_name: text.optional(),
  name: text.optional(),
});

/** Members that are not known are left out: relays may say more. */
export const relayMessage = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('auth_ok'),
    machine_id: text.optional(),
    /** Of one message to the relay. */
    max_message_bytes: z.int().min(1024).optional(),
  }),
  z.object({ type: z.literal('auth_error'), error: text.default('not said') }),
  z.object({ type: z.literal('error'), error: text.default('not said') }),
  syscall,
  z.object({ type: z.literal('agent_connected'), agent_id: relayAgentId, name: text.default('') }),
  z.object({ type: z.literal('agent_disconnected'), agent_id: relayAgentId }),
  z.object({ type: z.literal('remote_list'), agents: z.array(remote).max(100_000).default([]) }),
  z.object({ type: z.literal('ping') }),
  z.object({ type: z.literal('pong') }),
  z.object({ type: z.literal('deploy_agent'), script_name: text.optional() }),
  z.object({ type: z.literal('stop_agent'), agent_id: z.unknown().optional() }),
]);

export type RelayMessage = z.output<typeof relayMessage>;
export type RelaySyscall = z.output<typeof syscall>;

/** What the kernel says to a relay. */
export type KernelMessage =
  | { readonly type: 'kernel_auth'; readonly machine_id: string; readonly token: string }
  | { readonly type: 'list_remotes' | 'ping' | 'pong' }
  | {
      readonly type: 'response';
      readonly agent_id: number;
      readonly opcode: number;
      readonly payload: string;
      readonly id?: number | string;
    }
  | { readonly type: 'error'; readonly error: string; readonly code: string };

/** null = not a message that is known; relays of later versions may send such. */
export function parseRelayMessage(data: string): RelayMessage | null {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return null;
  }
  const parsed = relayMessage.safeParse(value);
  return parsed.success ? parsed.data : null;
}
