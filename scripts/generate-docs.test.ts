import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { ERROR_CODES } from '../errors/index.ts';
import { AGENT_DEFAULTS } from '../kernel/permissions/permissions.ts';
import { SYSCALLS } from '../kernel/syscalls/table.ts';
import { renderSyscallReference } from './syscall-reference.ts';

const root = path.join(import.meta.dirname, '..');

it('docs/syscalls.md is what the table says', () => {
  expect(readFileSync(path.join(root, 'docs/syscalls.md'), 'utf8')).toBe(
    renderSyscallReference(AGENT_DEFAULTS),
  );
});

it('the reference has every syscall with its opcode and summary, and every error code', () => {
  const text = renderSyscallReference(AGENT_DEFAULTS);
  for (const { name, opcode, summary, permission } of SYSCALLS) {
    const start = text.indexOf(`\n### ${name}\n`);
    expect(start).toBeGreaterThan(0);
    const section = text.slice(start, text.indexOf('\n##', start + 4));
    expect(section).toContain(summary);
    expect(section).toContain(`0x${opcode.toString(16).toUpperCase().padStart(2, '0')}`);
    expect(section).toContain(permission === 'none' ? 'anybody' : permission);
  }
  for (const code of Object.keys(ERROR_CODES)) expect(text).toContain(`| \`${code}\` |`);
});

it('fields are shown with type, default and meaning, those inside others by their path', () => {
  const text = renderSyscallReference(AGENT_DEFAULTS);
  expect(text).toContain('| `max` | integer | At most so many; 0 or less takes none. Default `10`. |');
  expect(text).toContain('| `messages[].from_name` | string |');
  expect(text).toContain('| `metrics.cpu.load_avg` | [number, number, number] |');
  expect(text).not.toContain('undefined');
  expect(text).not.toContain('[object');
});

it('--check says whether the pages are current', async () => {
  await promisify(execFile)(process.execPath, [path.join(root, 'scripts/generate-docs.ts'), '--check']);
});
