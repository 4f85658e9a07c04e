import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { contentFields, MAX_READ_BYTES, readAndClose, writeAndClose } from '../files/fd.ts';
import { hostError, openForCaller } from '../files/open.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { absolutePath, inWorld, memberOf, worldOf } from '../worlds/calls.ts';
import type { JoinedWorld } from '../worlds/host.ts';
import { defineSyscall, type SyscallContext } from './define.ts';

/** The words existing clients know, then the reason. */
function fileError(what: string, error: unknown): CloveError {
  const cause = hostError(error);
  return new CloveError(cause.code, `${what}: ${cause.message}`, {
    cause: error,
    ...(cause.hint === undefined ? {} : { hint: cause.hint }),
    ...(cause.details === undefined ? {} : { details: cause.details }),
  });
}

function requirePath(path: string | null | undefined): string {
  if (path === null || path === undefined || path === '')
    throw new CloveError('BAD_REQUEST', 'path required');
  return path;
}

function countBytes(
  { kernel, caller }: SyscallContext,
  field: 'bytesRead' | 'bytesWritten',
  bytes: number,
): void {
  const counters = kernel.agents.get(caller.id)?.counters;
  if (counters !== undefined) counters[field] += bytes;
}

const virtual = {
  world: z.string().optional().describe('The world the file is in, where that is not the caller’s own.'),
  virtual: z.literal(true).optional(),
};

function virtually(world: JoinedWorld): { world: string; virtual: true } {
  return { world: world.id, virtual: true };
}

/** The world whose file this is; null = the caller's own. */
function worldAt(context: SyscallContext, path: string): JoinedWorld | null {
  const world = worldOf(context);
  return world?.interceptsPath(absolutePath(context, path)) === true ? world : null;
}

async function meet<Result>(world: JoinedWorld, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw inWorld(error, world);
  }
}

export const read = defineSyscall({
  opcode: OPCODES.READ,
  name: 'READ',
  summary: `Reads a regular file of at most ${MAX_READ_BYTES / 2 ** 20} MiB: an agent inside its sandbox, an operator on the host.`,
  request: z.object({
    path: z.string().max(4096).nullish().describe('Relative ones start at the agent’s working directory.'),
  }),
  response: z.object({
    success: z.literal(true),
    content: z.string(),
    size: z.int().describe('Bytes of the file.'),
    encoding: z.literal('base64').optional().describe('Present when the content is not UTF-8 text.'),
    ...virtual,
  }),
  permission: 'files.read',
  audit: 'SYSCALL',
  replay: 'recorded',
  ordered: true,
  errorShape: { content: '', size: 0 },
  async handle(request, context) {
    const path = requirePath(request.path);
    const world = worldAt(context, path);
    if (world !== null) {
      const bytes = await meet(world, () => world.read(memberOf(context), absolutePath(context, path)));
      countBytes(context, 'bytesRead', bytes.length);
      return { success: true as const, size: bytes.length, ...contentFields(bytes), ...virtually(world) };
    }
    try {
      const bytes = await readAndClose(await openForCaller(context.kernel, context.caller, path, 'read'));
      countBytes(context, 'bytesRead', bytes.length);
      return { success: true as const, size: bytes.length, ...contentFields(bytes) };
    } catch (error) {
      throw fileError('failed to open file', error);
    }
  },
});

export const write = defineSyscall({
  opcode: OPCODES.WRITE,
  name: 'WRITE',
  summary:
    'Writes or appends to a regular file, made if it is not there: an agent inside its sandbox, an operator on the host.',
  request: z.object({
    path: z.string().max(4096).nullish().describe('Parent folders are not made.'),
    content: z.string().default(''),
    mode: z.string().default('write').describe('"append", else the file is replaced.'),
    encoding: z.enum(['utf8', 'base64']).default('utf8').describe('Of `content`.'),
  }),
  response: z.object({ success: z.literal(true), bytes_written: z.int(), ...virtual }),
  permission: 'files.write',
  audit: 'SYSCALL',
  replay: 'recorded',
  ordered: true,
  errorShape: { bytes_written: 0 },
  async handle(request, context) {
    const path = requirePath(request.path);
    const content = decodeContent(request.content, request.encoding);
    const append = request.mode === 'append';
    const world = worldAt(context, path);
    if (world !== null) {
      await meet(world, () => world.write(memberOf(context), absolutePath(context, path), content, append));
      countBytes(context, 'bytesWritten', content.length);
      return { success: true as const, bytes_written: content.length, ...virtually(world) };
    }
    try {
      const fd = await openForCaller(context.kernel, context.caller, path, append ? 'append' : 'write');
      await writeAndClose(fd, content, !append);
      countBytes(context, 'bytesWritten', content.length);
      return { success: true as const, bytes_written: content.length };
    } catch (error) {
      throw fileError('failed to open file for writing', error);
    }
  },
});

function decodeContent(content: string, encoding: 'utf8' | 'base64'): Buffer {
  if (encoding === 'base64') {
    const bytes = Buffer.from(content, 'base64');
    if (bytes.toString('base64') !== content) {
      throw new CloveError('BAD_REQUEST', 'invalid request: content is not base64');
    }
    return bytes;
  }
  if (!content.isWellFormed()) {
    throw new CloveError('BAD_REQUEST', 'invalid request: content has a lone surrogate');
  }
  return Buffer.from(content, 'utf8');
}

export const fileSyscalls = [read, write] as const;
