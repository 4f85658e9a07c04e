import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';

/** Runs on a small file system of its own, in a mount namespace that goes with the process. */
const SCRIPT = `
const { readdirSync, rmSync, writeFileSync } = await import('node:fs');
const path = await import('node:path');
const { TestLog, verifyFolder, entriesOf, OPERATOR } = await import(process.argv[2]);
const { kill } = await import(process.argv[3]);
const folder = process.argv[1];
writeFileSync(path.join(folder, 'ballast'), Buffer.alloc(2 ** 20));
const log = TestLog.open({ folder, config: { max_entries: 1e6 } });
const operator = { caller: OPERATOR, name: 'ops' };
const ALLOW = { allowed: true, ruleId: 'operator', policyDigest: '', object: '' };
const call = (id) => {
  const record = log.log.begin(operator, kill, ALLOW, { id });
  return log.log.end(record, kill, 'OK');
};
let acknowledged = 0;
let refusal;
for (let id = 1; refusal === undefined; id += 1) {
  try {
    await Promise.all(Array.from({ length: 50 }, (_, at) => call(id * 100 + at).then(() => { acknowledged += 1; })));
  } catch (error) {
    refusal = error.code;
  }
}
const failure = log.store.failure;
let write;
await log.store.write([['audit.setting', 'filler', 'x'.repeat(300_000)]]).catch((error) => { write = error.code; });
rmSync(path.join(folder, 'ballast'));
while (log.store.failure !== null) await new Promise((resolve) => setTimeout(resolve, 20));
await call(7);
await log.close();
const { ok, problems } = verifyFolder(folder);
const recorded = entriesOf(folder).filter(({ body }) => body.syscall === 'KILL').length;
console.log(JSON.stringify({ refusal, failure, write, ok, problems, lost: acknowledged + 1 > recorded, acknowledged, files: readdirSync(folder).sort() }));
`;

it('on a full disk nothing is acknowledged that is not recorded, and all goes on when there is room', (ctx) => {
  if (process.geteuid?.() !== 0) ctx.skip('needs root for a file system of its own');
  const folder = mkdtempSync(path.join(tmpdir(), 'clove-audit-'));
  try {
    const modules = ['./testing.ts', '../syscalls/agents.ts'].map(
      (name) => new URL(name, import.meta.url).href,
    );
    const inside = 'mount -t tmpfs -o size=3m none "$1" && shift 1 && exec "$@"';
    const output = execFileSync(
      'unshare',
      ['--mount', '--propagation', 'private', 'sh', '-c', inside, 'sh', folder].concat([
        process.execPath,
        '--input-type=module',
        '-e',
        SCRIPT,
        folder,
        ...modules,
      ]),
      { encoding: 'utf8', timeout: 50_000 },
    );
    const result = JSON.parse(output);
    expect(result).toMatchObject({
      refusal: 'AUDIT_FAILED',
      failure: expect.stringMatching(/full|I\/O/),
      write: 'IO',
      ok: true,
      problems: [],
      lost: false,
    });
    expect(result.acknowledged).toBeGreaterThan(50);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
