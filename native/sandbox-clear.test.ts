// Clears what dead kernels left, where this process itself is short of something.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { TEST_UID } from './sandbox-testing.ts';

const INDEX = path.join(import.meta.dirname, 'index.ts');

/** Where the freezer of version 1 is mounted: there is no cgroup.kill in it. */
const freezer = readFileSync('/proc/self/mountinfo', 'utf8')
  .split('\n')
  .find((mount) => / - cgroup \S+ (?:\S+,)?freezer(?:,|$)/.test(mount))
  ?.split(' ')[4];

describe.skipIf(process.geteuid?.() !== 0)('clearing (needs root)', () => {
  const undo: (() => void | Promise<void>)[] = [];
  afterEach(async () => {
    for (const step of undo.splice(0).reverse()) await step();
  });

  /** A program with the native part; what it prints when it is let go on after its first line. */
  async function program(source: string, limit: string, uid = 0): Promise<{ code: unknown; said: string }> {
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', source],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    undo.push(() => void child.kill('SIGKILL'));
    const closed = once(child, 'close');
    let said = '';
    child.stdout.on('data', (part) => {
      said += String(part);
    });
    await once(child.stdout, 'data');
    execFileSync('prlimit', ['--pid', String(child.pid), limit], { uid, gid: uid });
    child.stdin.end('\n');
    const [code, signal] = (await closed) as [number | null, string | null];
    return { code: code ?? signal, said: said.replace(/^ready\n/, '') };
  }

  const clears = (group: string, before = '') => `
    import { endSpares, reconcile } from ${JSON.stringify(INDEX)};
    import { once } from 'node:events';
    endSpares(1); // the native part runs
    ${before}
    console.log('ready');
    await once(process.stdin, 'data');
    await reconcile(${JSON.stringify(group)}).then(
      () => console.log('gone'),
      (error) => console.log(error.code, String(error)),
    );
    process.exit(0);`;

  it.skipIf(freezer === undefined)(
    'ends more processes than it may have descriptors (needs the freezer of v1)',
    async () => {
      const group = `clove/test-${randomBytes(4).toString('hex')}`;
      const folder = path.join(freezer as string, group);
      mkdirSync(folder, { recursive: true });
      const many: ChildProcess = spawn(
        'sh',
        ['-c', `echo $$ > ${folder}/cgroup.procs; for i in $(seq 300); do sleep 3600 & done; echo up; wait`],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      const ended = once(many, 'exit');
      undo.push(async () => {
        while (existsSync(folder)) {
          for (const pid of readFileSync(`${folder}/cgroup.procs`, 'utf8').split('\n').filter(Boolean))
            process.kill(Number(pid), 'SIGKILL');
          await sleep(2);
          try {
            rmdirSync(folder);
          } catch {} // the last of them is not wholly gone
        }
        await ended;
      });
      await once(many.stdout as NonNullable<typeof many.stdout>, 'data');
      expect(await program(clears(group), '--nofile=150')).toEqual({ code: 0, said: 'gone\n' });
      expect(existsSync(folder)).toBe(false);
    },
  );

  it('is answered, and ends nobody, where there can be no thread for it', async () => {
    const group = `clove/test-${randomBytes(4).toString('hex')}`;
    const { code, said } = await program(
      clears(group, `process.setgid(${TEST_UID}); process.setuid(${TEST_UID});`),
      '--nproc=1',
      TEST_UID,
    );
    expect({ code, said }).toEqual({ code: 0, said: expect.stringMatching(/^TIMEOUT .*no thread.*EAGAIN/) });
  });
});
