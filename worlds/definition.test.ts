import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { CloveError } from '../errors/index.ts';
import { worldSchema } from './definition.ts';
import { checkDefinition, describeIssue, parseWorldText } from './definition-file.ts';
import { readWorldFile, resolveConfig, resolveFile } from './resolve.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'clove-worlds-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const file = (name: string, text: string): string => {
  const target = path.join(folder, name);
  writeFileSync(target, text);
  return target;
};

/** `line:column path: message` of every mistake. */
async function mistakes(text: string): Promise<string[]> {
  const target = file('world.yaml', text);
  const error = await readWorldFile(target).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(CloveError);
  const { issues } = (error as CloveError).details as { issues: Parameters<typeof describeIssue>[1][] };
  return issues.map((issue) => describeIssue('w', issue));
}

describe('a world file', () => {
  it('has a default for everything', async () => {
    const { definition } = await readWorldFile(file('empty.yaml', ''));
    expect(definition).toEqual(worldSchema.parse({}));
    expect(definition).toMatchObject({
      seed: 0,
      clock: { mode: 'skip' },
      network: { mode: 'mock' },
      open: false,
    });
  });

  it('names every mistake with its line, column, path and what was expected', async () => {
    const found = await mistakes(`name: shop
files:
  initial:
    /a.txt: 5
    /b.txt: { content: x, mode: 99 }
clock: { mode: fast }
network:
  routes:
    - { host: api.test, statu: 200 }
schedule:
  - at: soon
    event: disk_full
  - event: disk_ful
    at: +1h
  - at: 1h
  - cron: "61 * * * *"
    event: slow_io
    params: { ms: fast }
chaos:
  rules:
    - event: disk_full
      params: { pth: / }
surprise: 1
`);
    expect(found).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^w:4:\d+: files\.initial\.\/a\.txt: expected string.*got number/),
        expect.stringMatching(/^w:5:\d+: files\.initial\.\/b\.txt\.mode: .*r/),
        expect.stringMatching(/^w:6:16: clock\.mode: .*real.*skip/),
        expect.stringMatching(/^w:9:\d+: network\.routes\.0\.statu: unknown member "statu"/),
        expect.stringMatching(/^w:11:9: schedule\.0\.at: expected a time since the start/),
        expect.stringMatching(/^w:13:12: schedule\.1\.event: expected one of disk_full/),
        expect.stringMatching(/^w:15:\d+: schedule\.2: expected what happens/),
        expect.stringMatching(/^w:16:11: schedule\.3\.cron: expected a cron pattern/),
        expect.stringMatching(/^w:18:\d+: schedule\.3\.params: event slow_io: ms: .*duration/),
        expect.stringMatching(/^w:22:\d+: chaos\.rules\.0\.params: event disk_full: pth: unknown member/),
        expect.stringMatching(/^w:23:\d+: surprise: unknown member "surprise"/),
      ]),
    );
  });

  it('names mistakes of YAML itself, keys given twice among them', async () => {
    expect(await mistakes('name: a\nname: b\n')).toEqual([expect.stringMatching(/^w:2:1: .*unique/)]);
    expect(await mistakes('name: [a\n')).toEqual([expect.stringMatching(/^w:\d+:\d+: /)]);
    expect(await mistakes('- a\n')).toEqual([expect.stringMatching(/expected a mapping/)]);
  });

  it('is not a bomb', async () => {
    const laughs = ['a: &a [1,1,1,1,1,1,1,1,1,1]'];
    for (let level = 1; level < 9; level += 1) {
      const names = 'abcdefghij';
      const inner = Array(10)
        .fill(`*${names[level - 1]}`)
        .join(',');
      laughs.push(`${names[level]}: &${names[level]} [${inner}]`);
    }
    expect(await mistakes(laughs.join('\n'))).toEqual([expect.stringMatching(/alias/i)]);
  });

  it('may be TypeScript, also a function of the seed', async () => {
    const typed = file('typed.mjs', 'export default { name: "typed", seed: 4 };');
    expect(await resolveFile(typed, {})).toMatchObject({ definition: { name: 'typed', seed: 4 }, folder });
    const made = file('made.mjs', 'export default (seed) => ({ name: "made-" + seed });');
    expect(await resolveFile(made, {}, 7)).toMatchObject({ definition: { name: 'made-7' } });
    await expect(readWorldFile(file('none.mjs', 'export const a = 1;'))).rejects.toMatchObject({
      code: 'CONFIG',
    });
    await expect(readWorldFile(path.join(folder, 'gone.yaml'))).rejects.toMatchObject({
      code: 'DATA_MISSING',
    });
  });

  it('builds on a world of the catalogue', async () => {
    const { definition } = await readWorldFile(
      file('x.yaml', 'extends: blank\nfiles:\n  initial:\n    /mine: "1"\n'),
    );
    expect(definition.files).toMatchObject({ initial: { '/mine': '1', '/work': { folder: true } } });
  });
});

describe('what comes over a socket', () => {
  it('is bounded: files, patterns, entries, depth of paths', async () => {
    const many = Object.fromEntries(Array.from({ length: 20_001 }, (_, n) => [`/f${n}`, '']));
    for (const [config, what] of [
      [{ files: { initial: many } }, /20000 files/],
      [{ files: { intercept: Array(257).fill('/**') } }, /256/],
      [{ schedule: Array(20_001).fill({ at: 0, remove: '/x' }) }, /20000/],
      [{ files: { initial: { [`/${'a'.repeat(5000)}`]: '' } } }, /4096/],
      [{ network: { handlers: ['./evil.ts'], routes: 'x' } }, /routes/],
      [{ clock: { mode: 'scale', scale: 1e9 } }, /20/],
    ] as const) {
      await expect(resolveConfig(config, null)).rejects.toMatchObject({
        code: 'CONFIG',
        message: expect.stringMatching(what),
      });
    }
  });

  it('cannot be laid over a world in the form of existing clients', async () => {
    await expect(resolveConfig({ virtual_filesystem: { initial_files: {} } }, 'blank')).rejects.toMatchObject(
      {
        code: 'CONFIG',
      },
    );
  });
});

describe('the configuration of existing clients', () => {
  const translated = (config: Record<string, unknown>) => checkDefinition(config, 'test', undefined, true);

  it('takes over what it means, and keeps what is the caller’s', () => {
    expect(translated({}).definition).toMatchObject({
      files: 'own',
      network: 'own',
      clock: { mode: 'real' },
      open: true,
    });
    const { definition, warnings } = translated({
      name: 'old',
      virtual_filesystem: { initial_files: { '/a': 'x', '/b': { content: 'y', mode: 'r' } } },
      network: {
        mode: 'mock',
        mock_responses: { 'http://a.test/*': 'body' },
        default_response: { status: 404, body: 'none' },
      },
      chaos: {
        enabled: true,
        failure_rate: 0.1,
        latency: { min_ms: 10, max_ms: 30 },
        rules: [
          { type: 'file_read_fail', path_pattern: '/a', probability: 1 },
          { type: 'network_timeout', url_pattern: 'http://*', probability: 0.5 },
          { type: 'strange' },
        ],
      },
      events: [
        { type: 'disk_full', at: 60, duration: '10s' },
        { type: 'strange', at: 1 },
      ],
      time: { speed: 2 },
    });
    expect(definition).toMatchObject({
      name: 'old',
      files: { intercept: ['/**'], initial: { '/b': { content: 'y', mode: 0o444 } } },
      network: { mode: 'mock', default_response: { status: 404, body: 'none' } },
      schedule: [{ at: 60_000, event: 'disk_full', for: 10_000 }],
    });
    expect(definition.chaos.rules.map(({ event }) => event)).toEqual([
      'disk_fail',
      'http_failure',
      'latency_spike',
      'disk_fail',
      'http_failure',
    ]);
    expect(warnings).toHaveLength(3);
  });

  it('says what has no effect', () => {
    const { warnings } = translated({
      virtual_filesystem: { initial_files: { '/a': '' } },
      chaos: { enabled: true, rules: [{ type: 'network_fail', probability: 1 }] },
    });
    expect(warnings).toEqual([expect.stringMatching(/network_fail has no effect/)]);
  });

  it('may record, and pass to the domains it allows', () => {
    expect(translated({ network: { mode: 'record' } }).definition.network).toMatchObject({
      mode: 'record',
      allow: ['*'],
    });
    expect(
      translated({ network: { mode: 'mock', allowed_domains: ['a.test'], fail_unmatched: true } }).definition
        .network,
    ).toMatchObject({ mode: 'passthrough', allow: ['a.test'], default_response: { status: 503 } });
  });
});

it('positions survive comments and flow style', () => {
  const { locate } = parseWorldText('# a comment\nfiles: { initial: { "/x": 1 } }\n', 'f');
  expect(locate(['files', 'initial', '/x'])).toEqual({ line: 2, column: 27 });
});
