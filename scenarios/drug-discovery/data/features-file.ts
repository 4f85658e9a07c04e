/**
 * The file of one data set × feature set. It is read by every worker, so this module loads nothing heavy.
 *
 *   0  magic "CLVFEAT" and the version of the form, 1 byte
 *   8  length of the header in bytes, little-endian u32, a multiple of 8; then 4 zero bytes
 *  16  SHA-256 of everything after it
 *  48  header: JSON, filled up with spaces
 *   …  matrix (u32 words or f64 values), scaffolds (i32 each), labels (u8 each), little-endian
 */
import { hash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { CloveError } from '../../../errors/index.ts';
import type { FeatureMatrix } from '../ml/types.ts';
import type { DroppedRow, DropReason } from './load.ts';

const MAGIC = Buffer.from('CLVFEAT\u0001', 'latin1');
const CHECKSUM_AT = 16;
const HEADER_AT = 48;
const MAX_FILE_BYTES = 1 << 30;

export interface FeaturesHeader {
  readonly dataset: string;
  readonly featureSet: string;
  readonly kind: FeatureMatrix['kind'];
  readonly rows: number;
  readonly columns: number;
  /** What the terminal and the report call the data. */
  readonly provenance: string;
  readonly sourceDigest: string;
  readonly rdkitVersion: string;
  readonly droppedCounts: Readonly<Partial<Record<DropReason, number>>>;
  /** The first 100 at most. */
  readonly dropped: readonly DroppedRow[];
}

export interface Features {
  readonly matrix: FeatureMatrix;
  /** 0 or 1, one per row. */
  readonly labels: Uint8Array;
  /** Scaffold group of each row, from 0 in order of first appearance. */
  readonly scaffolds: Int32Array;
  readonly header: FeaturesHeader;
}

/** The bytes of the file, in chunks. */
export function encodeFeatures(features: Features): Uint8Array[] {
  const { matrix, labels, scaffolds, header } = features;
  const json = Buffer.from(JSON.stringify(header), 'utf8');
  const headerBytes = Math.ceil(json.length / 8) * 8;
  const body = Buffer.alloc(headerBytes, ' ');
  json.copy(body);
  const content = Buffer.concat([
    body,
    ...[matrix.kind === 'bits' ? matrix.words : matrix.values, scaffolds, labels].map(
      ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength),
    ),
  ]);
  const preamble = Buffer.alloc(HEADER_AT);
  MAGIC.copy(preamble);
  preamble.writeUInt32LE(headerBytes, MAGIC.length);
  preamble.write(hash('sha256', content, 'hex'), CHECKSUM_AT, 'hex');
  return [preamble, content];
}

/**
 * Reads a features file: a few milliseconds, without RDKit. The arrays share one buffer.
 * Throws DATA_MISSING when there is none, DATA_CORRUPT when it is not what was written, IO when it cannot be read.
 */
export function readFeatures(file: string): Features {
  const bytes = readBytes(file);
  const corrupt = (what: string): CloveError =>
    new CloveError('DATA_CORRUPT', `${file}: ${what}`, {
      hint: 'Delete the file; it is computed again when it is next needed.',
    });
  if (bytes.length < HEADER_AT || !bytes.subarray(0, MAGIC.length).equals(MAGIC))
    throw corrupt('not a features file');
  const content = bytes.subarray(HEADER_AT);
  const checksum = bytes.toString('hex', CHECKSUM_AT, HEADER_AT);
  if (hash('sha256', content, 'hex') !== checksum) throw corrupt('the checksum does not match');
  const headerBytes = bytes.readUInt32LE(MAGIC.length);
  const header = parseHeader(content.toString('utf8', 0, headerBytes));
  if (header === undefined || headerBytes % 8 !== 0) throw corrupt('the header does not make sense');

  const { kind, rows, columns } = header;
  const cells = kind === 'bits' ? rows * Math.ceil(columns / 32) : rows * columns;
  const matrixBytes = cells * (kind === 'bits' ? 4 : 8);
  const matrixAt = HEADER_AT + headerBytes;
  const scaffoldsAt = matrixAt + matrixBytes;
  const labelsAt = scaffoldsAt + rows * 4;
  if (labelsAt + rows !== bytes.length) throw corrupt('the length does not match the header');
  const { buffer } = bytes;
  return {
    matrix:
      kind === 'bits'
        ? { kind, rows, columns, words: new Uint32Array(buffer, matrixAt, cells) }
        : { kind, rows, columns, values: new Float64Array(buffer, matrixAt, cells) },
    scaffolds: new Int32Array(buffer, scaffoldsAt, rows),
    labels: new Uint8Array(buffer, labelsAt, rows),
    header,
  };
}

/** The whole file in a buffer of its own, whose start is aligned for every typed array. */
function readBytes(file: string): Buffer<ArrayBuffer> {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(file, 'r');
    const { size } = fstatSync(descriptor);
    if (size > MAX_FILE_BYTES)
      throw new CloveError('DATA_CORRUPT', `${file}: ${size} bytes are no features file`);
    const bytes = Buffer.from(new ArrayBuffer(size));
    let length = 0;
    while (length < size) {
      const read = readSync(descriptor, bytes, length, size - length, length);
      if (read === 0) throw new CloveError('DATA_CORRUPT', `${file}: it became shorter while it was read`);
      length += read;
    }
    return bytes;
  } catch (cause) {
    if (cause instanceof CloveError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new CloveError('DATA_MISSING', `there is no ${file}`, { cause });
    throw new CloveError('IO', `cannot read ${file}: ${message}`, { cause });
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function parseHeader(text: string): FeaturesHeader | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const header = value as Record<keyof FeaturesHeader, unknown>;
  const valid =
    (header.kind === 'bits' || header.kind === 'dense') &&
    isCount(header.rows) &&
    isCount(header.columns) &&
    [header.dataset, header.featureSet, header.provenance, header.sourceDigest, header.rdkitVersion].every(
      (field) => typeof field === 'string',
    ) &&
    typeof header.droppedCounts === 'object' &&
    header.droppedCounts !== null &&
    Object.values(header.droppedCounts).every(isCount) &&
    Array.isArray(header.dropped);
  return valid ? (value as FeaturesHeader) : undefined;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
