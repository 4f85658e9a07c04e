import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, it } from 'vitest';
import type { Agent } from '../agents/agent.ts';
import { TestKernel, until } from '../fixture.ts';
import { findCgroupFile, findCgroupRoots } from '../metrics/cgroup.ts';
import { Probe } from './probe.ts';

const OPEN_FILES = 64;
const CHILD_OPENS_ALL = `
import os, time
if os.fork() == 0:
    held = os.dup(0)
    while held < ${OPEN_FILES - 1}: held = os.dup(0)
time.sleep(1000)`;

let kernel: TestKernel;
let agent: Agent;

beforeAll(async () => {
  kernel = await TestKernel.boot();
  const client = await kernel.connect();
  const command = ['/usr/bin/python3', '-c', CHILD_OPENS_ALL];
  const { id } = await client.spawn({ command, limits: { open_files: OPEN_FILES } });
  agent = kernel.running.kernel.agents.get(id) as Agent;
});
afterAll(() => kernel.close());

describe('descriptors of the processes of an agent are counted where these groups are all there is', () => {
  const all = findCgroupRoots(
    readFileSync('/proc/self/mountinfo', 'utf8'),
    readFileSync('/proc/self/cgroup', 'utf8'),
  );

  it.for(['unified', 'memory', 'pids', 'cpu', 'freezer'])('%s', async (controller, context) => {
    const { sandbox, plan } = agent;
    if (sandbox === null) throw new Error('the agent has ended');
    const roots = new Map([[controller, all.get(controller) ?? []]]);
    const group = `clove/${kernel.running.bootId}/${sandbox.instance}`;
    if (findCgroupFile(roots, controller, group, 'cgroup.procs') === null)
      context.skip(`agents have no group of ${controller} here`);
    const probe = new Probe(roots, group, sandbox, plan.sandbox.limits);
    try {
      await until(() => probe.fds() === OPEN_FILES);
    } finally {
      probe.close();
    }
  });
});
