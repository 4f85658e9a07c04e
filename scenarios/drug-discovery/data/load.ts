import { CloveError } from '../../../errors/index.ts';
import { loadRdkit } from '../chemistry/rdkit.ts';
import { type DataSource, readSourceFile } from './resolve.ts';
import { syntheticRows } from './synthetic.ts';
import { parseTsv } from './tsv.ts';

export interface DatasetRow {
  readonly id: string;
  readonly smiles: string;
  readonly label: 0 | 1;
}

/**
 * Why a row is left out. `repeated` and `contradictory` concern molecules that occur more than once: of equal labels the
 * first row is kept, of different labels none, since a copy in train and test would answer its own question.
 */
export const DROP_REASONS = [
  'missing label',
  'missing SMILES',
  'unparsable',
  'repeated',
  'contradictory',
] as const;

export type DropReason = (typeof DROP_REASONS)[number];

export interface DroppedRow {
  /** Line of the file, 1-based, or number of the synthetic row. */
  readonly line: number;
  readonly id: string;
  readonly reason: DropReason;
}

/** Names are kept for reports only; the longest of the four data sets has 119 characters. */
const MAX_ID_LENGTH = 200;

export interface LoadedDataset {
  /** `line` is what a dropped row is reported by. */
  readonly rows: readonly (DatasetRow & { readonly line: number })[];
  readonly dropped: readonly DroppedRow[];
}

/**
 * Reads the rows of a source. Rows without a label or a SMILES are dropped and reported.
 * Throws DATA_CORRUPT on a file of another form, and what `readSourceFile` throws.
 */
export async function loadDataset(source: DataSource): Promise<LoadedDataset> {
  if (source.kind === 'synthetic') {
    const rows = syntheticRows(await loadRdkit(), source.dataset);
    return { rows: rows.map((row, index) => ({ ...row, line: index + 1 })), dropped: [] };
  }
  return parseDataset(readSourceFile(source), source.path);
}

/** `origin` is used in messages only. */
export function parseDataset(text: string, origin: string): LoadedDataset {
  let table: ReturnType<typeof parseTsv>;
  try {
    table = parseTsv(text);
  } catch (error) {
    throw new CloveError('DATA_CORRUPT', `${origin}: ${(error as Error).message}`, { cause: error });
  }
  const [header, ...body] = table;
  const columns = ['Drug_ID', 'Drug', 'Y'];
  if (header === undefined || columns.some((column, index) => header.fields[index]?.trim() !== column)) {
    throw new CloveError(
      'DATA_CORRUPT',
      `${origin}: the header is not ${columns.join(', ')} (tab separated)`,
    );
  }
  const rows: (DatasetRow & { line: number })[] = [];
  const dropped: DroppedRow[] = [];
  for (const { line, fields } of body) {
    if (fields.length !== columns.length) {
      throw new CloveError(
        'DATA_CORRUPT',
        `${origin}, line ${line}: ${fields.length} fields instead of ${columns.length}`,
      );
    }
    const [name, smiles, y] = fields.map((field) => field.trim()) as [string, string, string];
    const id = name.slice(0, MAX_ID_LENGTH);
    if (y === '') dropped.push({ line, id, reason: 'missing label' });
    else if (smiles === '') dropped.push({ line, id, reason: 'missing SMILES' });
    else rows.push({ line, id, smiles, label: parseLabel(y, origin, line) });
  }
  return { rows, dropped };
}

function parseLabel(text: string, origin: string, line: number): 0 | 1 {
  const value = Number(text);
  if (value === 0 || value === 1) return value;
  throw new CloveError(
    'DATA_CORRUPT',
    `${origin}, line ${line}: the label ${JSON.stringify(text)} is neither 0 nor 1`,
  );
}
