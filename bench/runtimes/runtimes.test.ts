import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createKernel } from '../../kernel/index.ts';
import { residentBytes } from '../measure/proc.ts';
import { tinyScenario } from '../testing/tiny-scenario.ts';
import type { FaultKind, RuntimeName, Trial } from '../types.ts';
import { createRuntime } from './index.ts';
import type { AttemptEnding, AttemptRequest, Runtime, RuntimeContext } from './runtime.ts';

const MIB = 1024 ** 2;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'clove-rt-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function trial(action: string, workMs = 5, index = 7): Trial {
  return {
    id: `exp_${index}`,
    key: `key-${index}`,
    params: { index, workMs, action },
    seed: 1,
    costEstimate: 1,
    input: {},
  };
}

interface Harness {
  readonly runtime: Runtime;
  readonly hostCrashes: string[];
  readonly pids: Set<number>;
}

/** Leaks go 1.5 GiB beyond the limit where nothing stops them, so the limit of these tests makes them as short as can be. */
async function withRuntime(
  name: RuntimeName,
  use: (harness: Harness) => Promise<void>,
  limits: Partial<RuntimeContext['limits']> = {},
  readOnlyPaths: readonly string[] = [],
  kernelSocket: string | null = null,
  worker: URL = tinyScenario.worker,
): Promise<void> {
  const pids = new Set<number>();
  const everStarted: number[] = [];
  const hostCrashes: string[] = [];
  const context: RuntimeContext = {
    worker,
    limits: { ...tinyScenario.limits, memoryBytes: 128 * MIB, ...limits },
    parallel: 2,
    trials: 1,
    readOnlyPaths,
    scratchDirectory: folder,
    compileCacheDirectory: join(folder, 'compile-cache'),
    guard: {
      add: (pid) => {
        pids.add(pid);
        everStarted.push(pid);
      },
      remove: (pid) => pids.delete(pid),
    },
    onHostCrash: (reason) => hostCrashes.push(reason),
    onNotice: () => {},
  };
  const runtime = await createRuntime(name, context, { kernelSocket, zygote: true, isolation: 'full' });
  try {
    await use({ runtime, hostCrashes, pids });
  } finally {
    await runtime.close();
  }
  expect([...pids]).toEqual([]);
  expect(everStarted.filter((pid) => residentBytes(pid) !== null)).toEqual([]);
}

function request(given: Partial<AttemptRequest> & { trial: Trial }): AttemptRequest {
  return { attempt: 1, fault: null, slot: 0, signal: new AbortController().signal, ...given };
}

const fault = (kind: FaultKind) => ({ kind, moment: 'after' }) as const;
const ends = (endings: readonly AttemptEnding[]) => endings.map((ending) => ending.end);

const ALL: readonly RuntimeName[] = ['clove', 'process', 'thread', 'sequential'];
const MEMORY_SOURCE = {
  clove: 'cgroup',
  process: 'maxrss',
  thread: 'shared',
  sequential: 'shared',
  'python-pool': 'shared',
} as const;

describe.each(ALL)('runtime %s', (name) => {
  it('gives the result, the figures and the log of a trial', async () => {
    await withRuntime(name, async ({ runtime }) => {
      const ending = await runtime.start(request({ trial: trial('ok', 30) }));
      expect(ending).toMatchObject({
        end: 'completed',
        error: null,
        signal: null,
        result: { metrics: { test: { score: 0.07 } } },
      });
      const { usage } = ending;
      expect(usage.computeMs).toBeGreaterThanOrEqual(30);
      expect(usage.wallMs).toBeGreaterThanOrEqual(usage.computeMs ?? Number.NaN);
      expect(usage.startupMs).toBeGreaterThan(0);
      expect(usage.cpuMs).toBeGreaterThan(0);
      // A cgroup does not count the pages of Node's own file, which others have in memory too.
      expect(usage.memoryPeakBytes).toBeGreaterThan((name === 'clove' ? 2 : 10) * MIB);
      expect(usage.memorySource).toBe(MEMORY_SOURCE[name]);
      expect(ending.logTail).toContain('trial exp_7, attempt 1');
    });
  });

  it('tells an exception of the trial from a crash', async () => {
    await withRuntime(name, async ({ runtime, hostCrashes }) => {
      const thrown = await runtime.start(request({ trial: trial('throw') }));
      expect(thrown).toMatchObject({
        end: 'error',
        error: { code: 'TRIAL_FAILED', message: 'thrown on purpose' },
        result: null,
      });
      expect(thrown.logTail).toContain('RangeError');
      const exited = await runtime.start(request({ trial: trial('exit') }));
      expect(exited).toMatchObject({ end: 'crashed', error: { code: 'TRIAL_FAILED' } });
      expect(hostCrashes.length).toBe(name === 'sequential' ? 1 : 0);
      expect((await runtime.start(request({ trial: trial('ok') }))).end).toBe('completed');
    });
  });

  it('ends a trial that hangs at its time limit', async () => {
    await withRuntime(
      name,
      async ({ runtime, hostCrashes }) => {
        const hung = await runtime.start(request({ trial: trial('ok'), fault: fault('hang') }));
        expect(hung).toMatchObject({ end: 'timeout', error: { code: 'TIMEOUT' }, result: null });
        expect(hostCrashes.length).toBe(name === 'sequential' ? 1 : 0);
        expect((await runtime.start(request({ trial: trial('ok') }))).end).toBe('completed');
      },
      { timeoutMs: 1500 },
    );
  });

  it('interrupts a running trial when told to stop', async () => {
    await withRuntime(name, async ({ runtime, hostCrashes }) => {
      const stop = new AbortController();
      const attempt = runtime.start(request({ trial: trial('hang'), signal: stop.signal }));
      setTimeout(() => stop.abort(), 300);
      expect((await attempt).end).toBe('interrupted');
      expect(hostCrashes).toEqual([]);
    });
  });
});

describe('runtime clove', () => {
  it('says at once when no kernel answers', async () => {
    const use = async () => {
      throw new Error('not reached');
    };
    const missing = withRuntime('clove', use, {}, [], join(folder, 'none.sock'));
    await expect(missing).rejects.toMatchObject({ code: 'UNREACHABLE' });
  });

  it('leaves no kernel behind when the code of its trials cannot be loaded', async () => {
    const broken = withRuntime(
      'clove',
      async () => {},
      {},
      [],
      null,
      new URL('file:///nonexistent/worker.ts'),
    );
    await expect(broken).rejects.toThrow('nonexistent');
    expect(readdirSync(folder).filter((name) => name.endsWith('.sock'))).toEqual([]);
  });

  it('joins a kernel that runs already, and leaves it running', async () => {
    const kernel = await createKernel({
      socketPath: join(folder, 'k.sock'),
      dataDirectory: join(folder, 'data'),
      logLevel: 'error',
      drainMs: 0,
    });
    try {
      for (const _ of [1, 2])
        await withRuntime(
          'clove',
          async ({ runtime }) => {
            expect((await runtime.start(request({ trial: trial('ok') }))).end).toBe('completed');
          },
          {},
          [],
          kernel.socketPath,
        );
      expect(kernel.kernel.agents.list()).toEqual([]);
    } finally {
      await kernel.close();
    }
  });

  it('does not call it clove when a kernel protects nothing', async () => {
    const kernel = await createKernel({
      socketPath: join(folder, 'k.sock'),
      dataDirectory: join(folder, 'data'),
      sandbox: 'off',
      logLevel: 'error',
      drainMs: 0,
    });
    try {
      await expect(withRuntime('clove', async () => {}, {}, [], kernel.socketPath)).rejects.toMatchObject({
        code: 'CONFIG',
        hint: expect.stringContaining('--runtime process'),
      });
    } finally {
      await kernel.close();
    }
  });

  it('says what protects the trials', async () => {
    await withRuntime('clove', async ({ runtime }) => {
      await runtime.start(request({ trial: trial('ok') }));
      const on = runtime.isolation.filter((layer) => layer.state === 'on').map((layer) => layer.layer);
      expect(on).toEqual(expect.arrayContaining(['pidns', 'mntns', 'netns', 'seccomp', 'mem', 'pids']));
    });
  });

  it('gives a trial no way to write to its code or inputs, and none to the host', async () => {
    const inputs = join(folder, 'inputs');
    mkdirSync(inputs, { recursive: true });
    writeFileSync(join(inputs, 'data'), 'prepared');
    await withRuntime(
      'clove',
      async ({ runtime }) => {
        const probe: Trial = { ...trial('probe'), input: { inputs, code: tinyScenario.worker.pathname } };
        const { result, logTail } = await runtime.start(request({ trial: probe }));
        expect(result?.facts, logTail).toEqual({
          readInput: 'prepared',
          writeInput: expect.stringMatching(/^(EROFS|EACCES)$/),
          writeCode: expect.stringMatching(/^(EROFS|EACCES)$/),
          seeHome: 'ENOENT',
        });
      },
      {},
      [inputs],
    );
  });
});

describe('a crash', () => {
  it.each(['clove', 'process'] as const)('under %s ends its own trial only', async (name) => {
    await withRuntime(name, async ({ runtime, hostCrashes }) => {
      const both = await Promise.all([
        runtime.start(request({ trial: trial('ok', 600, 1) })),
        runtime.start(request({ trial: trial('ok', 1, 2), fault: fault('crash'), slot: 1 })),
      ]);
      expect(ends(both)).toEqual(['completed', 'crashed']);
      expect(both[1]).toMatchObject({ signal: 'SIGABRT' });
      expect(both[1]?.logTail).toContain('fault injection: crash');
      expect(hostCrashes).toEqual([]);
    });
  });

  it('under thread takes the trial beside it along, which is called collateral', async () => {
    await withRuntime('thread', async ({ runtime, hostCrashes }) => {
      const both = await Promise.all([
        runtime.start(request({ trial: trial('hang', 1, 1) })),
        runtime.start(request({ trial: trial('ok', 300, 2), fault: fault('crash'), slot: 1 })),
      ]);
      expect(ends(both)).toEqual(['collateral', 'crashed']);
      expect(hostCrashes).toEqual(['ended by SIGABRT, with 2 trials in it']);
      expect((await runtime.start(request({ trial: trial('ok') }))).end).toBe('completed');
    });
  });

  it('under sequential costs the host', async () => {
    await withRuntime('sequential', async ({ runtime, hostCrashes }) => {
      const crashed = await runtime.start(request({ trial: trial('ok'), fault: fault('crash') }));
      expect(crashed).toMatchObject({ end: 'crashed', signal: 'SIGABRT' });
      expect(hostCrashes.length).toBe(1);
      expect((await runtime.start(request({ trial: trial('ok') }))).end).toBe('completed');
    });
  });
});

describe('a leak', () => {
  it('under clove ends at the limit, with its trial only', async () => {
    await withRuntime('clove', async ({ runtime }) => {
      const both = await Promise.all([
        runtime.start(request({ trial: trial('ok', 600, 1) })),
        runtime.start(request({ trial: trial('ok', 1, 2), fault: fault('leak'), slot: 1 })),
      ]);
      expect(ends(both)).toEqual(['completed', 'oom']);
      const peak = both[1]?.usage.memoryPeakBytes ?? Number.NaN;
      expect(peak).toBeGreaterThan(100 * MIB);
      expect(peak).toBeLessThanOrEqual(128 * MIB);
    });
  });

  it('under process grows beyond the limit, since nothing there stops it', async () => {
    await withRuntime('process', async ({ runtime }) => {
      const leaked = await runtime.start(request({ trial: trial('ok'), fault: fault('leak') }));
      expect(leaked.end).toBe('completed');
      expect(leaked.usage.memoryPeakBytes).toBeGreaterThan(1500 * MIB);
      expect(leaked.logTail).toContain('nothing stopped the leak');
    });
  });
});
