import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DyingKernel } from '../bench/testing/deaths.ts';
import { ensureNative, hostCapabilities, setupSteps } from '../native/index.ts';

/** One of each phase; all of them (two minutes) with CLOVE_DEATH_STEPS=all. */
const SOME = [
  'open_mounts',
  'cgroup_memory',
  'plan',
  'clone',
  'plan_read',
  'cgroup_attach',
  'root_tmpfs',
  'mounts',
  'pivot_root',
  'uid',
  'seccomp',
  'fork_agent',
  'verify',
  'gate2',
  'exec',
];
/** Those of a kernel without privilege, and of agents of a template. */
const ELSEWHERE = ['namespaces', 'id_maps'];
const wanted = process.env.CLOVE_DEATH_STEPS ?? '';

describe('a kernel killed in the middle of a setup', () => {
  let folder: string;
  let kernel: DyingKernel;
  const isPossible = process.geteuid?.() === 0 && hostCapabilities().cgroup !== 'none';
  beforeAll(() => {
    ensureNative();
    folder = mkdtempSync(path.join(tmpdir(), 'clove-deaths-'));
    kernel = new DyingKernel(folder, 10);
  });
  afterAll(async () => {
    await kernel.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const steps = wanted === 'all' ? setupSteps().filter((step) => !ELSEWHERE.includes(step)) : SOME;
  // Without either there is nothing to be left behind: said once, not for every step.
  if (!isPossible) it('needs root and cgroups', (context) => context.skip('needs root and cgroups'));
  it.runIf(isPossible).each(steps)(
    'at %s leaves nothing once the next one has started, and the agent never ran',
    async (step) => {
      const death = await kernel.dieAt(step);
      expect(death).toMatchObject({ step, reached: true, ran: false, left: [] });
    },
  );
});
