/**
 * Writes the parts of docs/ that derive from the code. `--check` writes nothing and exits 1 when one is out of date.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { AGENT_DEFAULTS } from '../kernel/permissions/permissions.ts';
import { renderSyscallReference } from './syscall-reference.ts';

const root = path.join(import.meta.dirname, '..');

const PAGES: Readonly<Record<string, () => string>> = {
  'docs/syscalls.md': () => renderSyscallReference(AGENT_DEFAULTS),
};

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
let stale = 0;
for (const [file, render] of Object.entries(PAGES)) {
  const target = path.join(root, file);
  const text = render();
  if (!values.check) {
    writeFileSync(target, text);
    console.log(`wrote ${file}`);
  } else if (readOrNull(target) !== text) {
    stale += 1;
    console.error(`${file} is out of date: run node scripts/generate-docs.ts`);
  }
}
process.exitCode = stale === 0 ? 0 : 1;

function readOrNull(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
