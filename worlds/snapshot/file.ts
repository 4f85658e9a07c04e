import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { zstdCompress, zstdDecompress } from 'node:zlib';
import { CloveError } from '../../errors/index.ts';
import { toSortedJson } from '../../kernel/json.ts';
import { corrupt } from './format.ts';
import { type Packed, verified } from './pack.ts';

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);
const MAX_FILE_BYTES = 2 ** 30;
/** A small file may stand for very much. */
const MAX_TEXT_BYTES = 1.5 * 2 ** 30;

/**
 * One file: zstd over lines of JSON, first `{"id", "body"}`, then one line for each content. Either it is there whole, or
 * what was there before is. @throws IO
 */
export async function writeSnapshotFile(file: string, { id, body, blocks }: Packed): Promise<void> {
  const lines = [toSortedJson({ id, body })];
  for (const [hash, content] of [...blocks].sort(([a], [b]) => (a < b ? -1 : 1))) {
    lines.push(JSON.stringify({ hash, data: content.toString('base64') }));
  }
  const bytes = await compress(Buffer.from(`${lines.join('\n')}\n`));
  const folder = path.dirname(file);
  const making = path.join(folder, `.${path.basename(file)}.${process.pid}.${id.slice(0, 8)}`);
  try {
    const handle = await open(making, 'wx', 0o600);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(making, file);
    const parent = await open(folder, 'r');
    await parent.sync().finally(() => parent.close());
  } catch (cause) {
    await rm(making, { force: true });
    throw new CloveError('IO', `${file} cannot be written: ${(cause as Error).message}`, { cause });
  }
}

/** @throws DATA_MISSING, DATA_CORRUPT */
export async function readSnapshotFile(file: string): Promise<Packed> {
  const facts = await stat(file).catch((cause: unknown) => {
    throw new CloveError('DATA_MISSING', `no snapshot ${file}`, { cause });
  });
  if (!facts.isFile() || facts.size > MAX_FILE_BYTES) throw corrupt(`${file} is no file, or too large`);
  let text: string;
  try {
    text = (await decompress(await readFile(file), { maxOutputLength: MAX_TEXT_BYTES })).toString('utf8');
  } catch (cause) {
    throw new CloveError('DATA_CORRUPT', `${file} is no snapshot: ${(cause as Error).message}`, { cause });
  }
  const [first = '', ...rest] = text.split('\n');
  if (rest.pop() !== '') throw corrupt('it is cut off');
  const { id, body } = parseLine(first);
  const blocks = new Map<string, Buffer>();
  for (const line of rest) {
    const { hash, data } = parseLine(line);
    if (typeof hash !== 'string' || typeof data !== 'string') throw corrupt('a line of another form');
    blocks.set(hash, Buffer.from(data, 'base64'));
  }
  return verified(String(id), body, blocks);
}

function parseLine(line: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw corrupt('a line is not JSON');
  }
  if (typeof value !== 'object' || value === null) throw corrupt('a line is no object');
  return value as Record<string, unknown>;
}
