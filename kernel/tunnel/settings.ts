import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { LEVELS, type Level } from '../permissions/grants.ts';

const RELAY_URL = /^wss?:\/\//i;

/** A relay's address. Whoever it is told must not find a secret in it. */
export const relayUrl = z
  .string()
  .max(2048)
  .refine((text) => RELAY_URL.test(text) && URL.canParse(text), 'not a ws:// or wss:// URL')
  .refine((text) => !URL.canParse(text) || new URL(text).username === '', 'holds a user name');

export const machineId = z.string().min(1).max(256);
export const relayToken = z.string().max(4096);

export const tunnelSchema = z.strictObject({
  relayUrl: relayUrl.nullable().default(null),
  machineId: machineId.nullable().default(null),
  token: relayToken.nullable().default(null),
  reconnectMs: z.number().min(1).max(3_600_000).default(5000),
  remoteLevel: z.enum(LEVELS).default('minimal'),
  maxRemotes: z.int().min(1).max(10_000).default(256),
  remoteSyscallsPerSecond: z.int().min(1).max(1_000_000).default(500),
  pingMs: z.int().min(10).max(4000).default(3000),
  deadMs: z.int().min(20).max(10_000).default(9000),
  connectMs: z.int().min(10).max(30_000).default(30_000),
  authMs: z.int().min(10).max(10_000).default(10_000),
  connectAtStart: z.boolean().default(false),
});

/** The kernel's tunnel to a relay, until TUNNEL_CONFIG or TUNNEL_CONNECT say otherwise. */
export interface TunnelOptions {
  /** Where TUNNEL_CONNECT connects to; null = it has to say. */
  readonly relayUrl: string | null;
  /** Who this kernel is to the relay; null = the host's name. */
  readonly machineId: string | null;
  readonly token: string | null;
  /** Span of the first pause after a loss; it doubles with every attempt. */
  readonly reconnectMs: number;
  /** What an agent that comes through the relay holds, until an operator gives it something else. */
  readonly remoteLevel: Level;
  readonly maxRemotes: number;
  readonly remoteSyscallsPerSecond: number;
  /** How often the relay is asked whether it is there. */
  readonly pingMs: number;
  /** Silence after which it is not. */
  readonly deadMs: number;
  /** Longest time until the relay has let this kernel in, all in all. */
  readonly connectMs: number;
  /** Longest time for its answer to the token. */
  readonly authMs: number;
  /** Connect when the kernel starts, and go on trying until the relay is there. */
  readonly connectAtStart: boolean;
}

export type UserTunnelOptions = Partial<TunnelOptions>;

/** Whom to connect to. */
export interface RelayTarget {
  readonly relayUrl: string;
  readonly machineId: string;
  readonly token: string;
}

/** @throws BAD_REQUEST */
export function targetOf(options: TunnelOptions, defaultMachineId: string): RelayTarget {
  if (options.relayUrl === null) throw new CloveError('BAD_REQUEST', 'relay_url required');
  return {
    relayUrl: options.relayUrl,
    machineId: options.machineId ?? defaultMachineId,
    token: options.token ?? '',
  };
}
