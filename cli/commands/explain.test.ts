import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ERROR_CODES } from '../../errors/index.ts';

const CLOVE = path.join(import.meta.dirname, '..', '..', 'bin', 'clove');
const clove = (...args: string[]) =>
  spawnSync(CLOVE, args, { encoding: 'utf8', env: { PATH: process.env.PATH, HOME: '/' } });

describe('clove explain', () => {
  it('says what a code means, what causes it and what to do', () => {
    const { status, stdout } = clove('explain', 'sandbox_unavailable');
    expect(status).toBe(0);
    expect(stdout).toContain(ERROR_CODES.SANDBOX_UNAVAILABLE);
    expect(stdout).toMatch(/usual cause: .+\n {2}what to do: {2}.*clove doctor.*\n {2}exit status: 125\n$/);
    expect(JSON.parse(clove('explain', 'UNREACHABLE', '--json').stdout)).toMatchObject({
      code: 'UNREACHABLE',
      meaning: ERROR_CODES.UNREACHABLE,
      remedy: expect.stringContaining('clove kernel start'),
      exitStatus: 1,
    });
  });

  it('lists all codes when none is named', () => {
    const { status, stdout } = clove('explain');
    expect(status).toBe(0);
    for (const code of Object.keys(ERROR_CODES)) expect(stdout).toContain(`\n${code} `);
    expect(JSON.parse(clove('explain', '--json').stdout).codes).toHaveLength(Object.keys(ERROR_CODES).length);
  });

  it('suggests the code that was meant', () => {
    const { status, stdout, stderr } = clove('explain', 'UNREACHBLE');
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain('hint: Did you mean UNREACHABLE?');
  });

  it('is what the details of an error lead to', () => {
    const { stderr } = clove('--verbose', 'kernel', 'status', '--socket', '/no/kernel.sock');
    expect(stderr).toMatch(/\n {2}more: clove explain UNREACHABLE\n$/);
    expect(clove('kernel', 'status', '--socket', '/no/kernel.sock').stderr).not.toContain('explain');
  });
});
