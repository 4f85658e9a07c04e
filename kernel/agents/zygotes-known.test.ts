import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { CloveError } from '../../errors/index.ts';
import type { Sandbox, SandboxSpec } from '../../native/types.ts';
import { createLog } from '../log.ts';
import type { TemplateSpec } from './template-plan.ts';
import { UidPool } from './uid-pool.ts';
import { Zygotes } from './zygotes.ts';

it('forgets what it knows of templates that were declared once and never came to be', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'clove-zygotes-'));
  const program = {} as Sandbox;
  const zygotes = new Zygotes({
    bootId: 'none',
    bootDirectory: folder,
    cgroupParent: 'clove/none',
    users: new UidPool(300_000, 8),
    log: createLog('silent'),
    launch: async ({ zygote }) => {
      if (zygote != null) throw new CloveError('SANDBOX_UNAVAILABLE', 'no room');
      return program;
    },
  });
  const template = (n: number): TemplateSpec => ({
    owner: 'operator',
    runtime: 'python',
    executable: '/usr/bin/python3',
    flags: [],
    preload: [`module_${n}`],
    warmUp: [],
    mounts: [],
    env: {},
    memoryBytes: 2 ** 30,
  });
  try {
    for (let n = 0; n < 200; n += 1) {
      const use = { spec: template(n), argv: [], reason: null };
      const started = await zygotes.launch({} as SandboxSpec, use);
      expect(started).toMatchObject({
        sandbox: program,
        used: false,
        reason: expect.stringContaining('no room'),
      });
    }
    expect(zygotes.known).toBeLessThanOrEqual(64);
    expect(zygotes.known).toBeGreaterThan(0);
  } finally {
    await zygotes.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
