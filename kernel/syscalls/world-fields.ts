import path from 'node:path';
import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import type { SyscallContext } from './define.ts';

export const jsonObject = z.record(z.string(), z.unknown());
export const worldId = z.string().max(256).nullish().describe('As WORLD_CREATE answered it.');
export const hostPath = z
  .string()
  .max(4096)
  .nullish()
  .describe('Of a file on the host, absolute. Operators only; snapshots of any size.');

export function requireWorldId(id: string | null | undefined): string {
  if (id) return id;
  throw new CloveError('BAD_REQUEST', 'world_id required');
}

/** A file of the host is no business of agents. @throws FORBIDDEN, BAD_REQUEST */
export function hostFile({ caller }: SyscallContext, file: string | null | undefined): string | null {
  if (!file) return null;
  if (caller.kind !== 'operator') {
    throw new CloveError('FORBIDDEN', 'only operators name files of the host');
  }
  if (!path.isAbsolute(file)) {
    throw new CloveError('BAD_REQUEST', 'invalid request: a path of the host must be absolute');
  }
  return file;
}

export const worldInfo = z.object({
  id: z.string(),
  name: z.string(),
  description: z.string(),
  agent_count: z.int(),
  syscall_count: z.int().describe('Of its members, since it was made.'),
  vfs_enabled: z.boolean(),
  network_mock_enabled: z.boolean(),
  chaos_enabled: z.boolean(),
  created_at: z.number().describe('Seconds since the epoch, real time.'),
  owner_id: z.int().describe('Who made it; 0 = nobody who is still there.'),
  seed: z.number(),
  clock_mode: z.string(),
  world_time: z.string().describe('The time there, ISO 8601.'),
});

/** The words existing clients look for come first; what went wrong follows. */
export function asFailure(words: string, error: unknown): unknown {
  if (!(error instanceof CloveError) || error.code === 'BAD_REQUEST' || error.code === 'FORBIDDEN')
    return error;
  return new CloveError(error.code, `${words}: ${error.message}`, {
    cause: error,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...(error.details === undefined ? {} : { details: error.details }),
  });
}
