import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { contentFields, MAX_READ_BYTES, readAndClose, writeAndClose } from '../files/fd.ts';
import { hostError, openForCaller } from '../files/open.ts';
import { OPCODES } from '../protocol/opcodes.ts';
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
  }),
  permission: 'files.read',
  audit: 'SYSCALL',
  replay: 'recorded',
  ordered: true,
  errorShape: { content: '', size: 0 },
  async handle(request, context) {
    const path = requirePath(request.path);
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
  response: z.object({ success: z.literal(true), bytes_written: z.int() }),
  permission: 'files.write',
  audit: 'SYSCALL',
  replay: 'recorded',
  ordered: true,
  errorShape: { bytes_written: 0 },
  async handle(request, context) {
    const path = requirePath(request.path);
    const content = decodeContent(request.content, request.encoding);
    const append = request.mode === 'append';
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
