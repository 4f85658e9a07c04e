import { CloveError } from '../../errors/index.ts';
import { openDatabase } from '../store/database.ts';
import type { DurableStore } from '../store/durable-store.ts';
import { type TunnelOptions, tunnelSchema } from './settings.ts';

const NAME = 'tunnel';
/** What TUNNEL_CONFIG sets. The database is its user's alone, so that the token may be in it. */
const savedSchema = tunnelSchema
  .pick({
    relayUrl: true,
    machineId: true,
    token: true,
    reconnectMs: true,
    remoteLevel: true,
    maxRemotes: true,
    remoteSyscallsPerSecond: true,
  })
  .partial();

export type SavedTunnel = Partial<TunnelOptions>;

/** What was set by TUNNEL_CONFIG of kernels before this one. @throws DATA_CORRUPT, IO */
export function loadTunnel(databasePath: string): SavedTunnel {
  const database = openDatabase(databasePath);
  try {
    const text = database.prepare('SELECT value FROM settings WHERE name = ?').get(NAME)?.value;
    if (typeof text !== 'string') return {};
    const given = JSON.parse(text) as Readonly<Record<string, unknown>>;
    const parsed = savedSchema.parse(given);
    // The schema's defaults are no settings.
    return Object.fromEntries(Object.entries(parsed).filter(([name]) => name in given));
  } catch (error) {
    throw new CloveError('DATA_CORRUPT', 'the stored configuration of the tunnel is not of its form', {
      cause: error,
    });
  } finally {
    database.close();
  }
}

/** Resolves when it will survive a crash. @throws IO */
export function saveTunnel(store: DurableStore, saved: SavedTunnel): Promise<void> {
  return store.write([['setting.put', NAME, JSON.stringify(saved)]]);
}

/** What was set stands above what the kernel is started with, but for the relay, machine and token that it is started with. */
export function withSaved(options: TunnelOptions, saved: SavedTunnel): TunnelOptions {
  const { relayUrl, machineId, token } = options;
  return {
    ...options,
    ...saved,
    ...(relayUrl === null ? {} : { relayUrl }),
    ...(machineId === null ? {} : { machineId }),
    ...(token === null ? {} : { token }),
  };
}
