/**
 * Writes docs/results.schema.json (JSON Schema 2020-12) from reports/schema.ts; `--check` only compares and exits 1
 * when they differ. Run: node reports/schema-file.ts [--check]
 */
import { readFile, writeFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { resultsSchema } from './schema.ts';

export const SCHEMA_FILE = new URL('../docs/results.schema.json', import.meta.url);

export function jsonSchema(): unknown {
  // Through JSON, so that it compares with what a file holds.
  return JSON.parse(JSON.stringify(z.toJSONSchema(resultsSchema, { target: 'draft-2020-12' })));
}

/** Whether the file in docs/ says what the schema says; layout does not count. */
export async function schemaFileIsCurrent(): Promise<boolean> {
  const text = await readFile(SCHEMA_FILE, 'utf8').catch(() => 'null');
  return isDeepStrictEqual(JSON.parse(text), jsonSchema());
}

if (import.meta.main) {
  if (process.argv.includes('--check')) {
    if (!(await schemaFileIsCurrent())) {
      console.error('docs/results.schema.json is out of date: run node reports/schema-file.ts');
      process.exitCode = 1;
    }
  } else {
    await writeFile(SCHEMA_FILE, `${JSON.stringify(jsonSchema(), null, 2)}\n`);
  }
}
