import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type TestClient, TestKernel } from '../kernel/fixture.ts';
import { toSortedJson } from '../kernel/json.ts';
import { EVENT_KIND_NAMES } from './chaos/kinds.ts';
import { worldHost } from './engine.ts';
import { hashOf } from './filesystem/blocks.ts';

let kernel: TestKernel;
let client: TestClient;

beforeAll(async () => {
  kernel = await TestKernel.boot({}, { worlds: worldHost({ worlds: 50 }) });
  client = await kernel.connect();
});
afterAll(() => kernel.close());

const KEYS = [
  'name',
  'files',
  'network',
  'services',
  'clock',
  'chaos',
  'schedule',
  'state',
  'seed',
  'extends',
  'virtual_filesystem',
  'initial',
  'mode',
  'rules',
  'mock_responses',
  'initial_files',
  '/a',
  'event',
  'params',
  'at',
];

/** Things that look a little like a definition. */
const { config } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(null, true, 0, -1, 1e308, '', 'own', 'mock', 'real', '+1h', '/**', 'disk_full', 'blank'),
    fc.string({ maxLength: 8 }),
    fc.array(tie('value'), { maxLength: 3 }),
    tie('config'),
  ),
  config: fc.dictionary(fc.constantFrom(...KEYS), tie('value'), { maxKeys: 4 }),
}));

it('whatever is sent as a world makes one or is refused by name, and never is a fault', async () => {
  await fc.assert(
    fc.asyncProperty(config, async (given) => {
      const answer = await client.call('WORLD_CREATE', { name: 'x', config: given });
      expect(answer.code).not.toBe('INTERNAL');
      if (answer.success) await client.call('WORLD_DESTROY', { world_id: answer.world_id });
    }),
    { numRuns: 300 },
  );
});

it('whatever is sent as a snapshot is restored or refused by name', async () => {
  const { world_id } = await client.call('WORLD_CREATE', {
    config: { files: { initial: { '/a': 'x' } }, clock: 'step' },
  });
  const { snapshot } = await client.call('WORLD_SNAPSHOT', { world_id });
  const paths: (string | number)[][] = [];
  const collect = (value: unknown, at: (string | number)[]) => {
    paths.push(at);
    if (typeof value === 'object' && value !== null) {
      for (const [key, inner] of Object.entries(value))
        collect(inner, [...at, Array.isArray(value) ? Number(key) : key]);
    }
  };
  collect(snapshot, []);
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...paths.filter((at) => at.length > 0)),
      fc.constantFrom(null, -1, 'x', [], {}, true, 1e300),
      fc.boolean(),
      async (at, value, isSigned) => {
        const changed = structuredClone(snapshot);
        const parent = at.slice(0, -1).reduce((inner, key) => inner[key], changed);
        parent[at.at(-1) as string] = value;
        // As somebody would who knows how ids are made.
        if (isSigned && changed.clove?.body)
          changed.clove.id = hashOf(Buffer.from(toSortedJson(changed.clove.body)));
        const answer = await client.call('WORLD_RESTORE', { snapshot: changed });
        expect(answer.code, JSON.stringify(answer)).not.toBe('INTERNAL');
        if (answer.success) await client.call('WORLD_DESTROY', { world_id: answer.world_id });
      },
    ),
    { numRuns: 300 },
  );
});

it('whatever is sent as an event acts or is refused by name', async () => {
  const { world_id } = await client.call('WORLD_CREATE', {
    config: { files: { initial: { '/a': 'x' } }, clock: 'step' },
  });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...EVENT_KIND_NAMES, 'clear', 'unknown'),
      fc.dictionary(
        fc.constantFrom(
          'ms',
          'hosts',
          'agents',
          'path',
          'probability',
          'between',
          'url',
          'duration',
          'event_id',
        ),
        fc.oneof(fc.jsonValue({ maxDepth: 1 }), fc.constantFrom('*', '/**', 'http://a.test/', '1s')),
      ),
      async (event_type, params) => {
        const answer = await client.call('WORLD_EVENT', { world_id, event_type, params });
        expect(answer.code, JSON.stringify(answer)).not.toBe('INTERNAL');
      },
    ),
    { numRuns: 300 },
  );
  expect(await client.call('WORLD_DESTROY', { world_id })).toMatchObject({ success: true });
});

it('a kernel has so many worlds and no more, and says so', async () => {
  const made: string[] = [];
  for (;;) {
    const answer = await client.call('WORLD_CREATE', {
      config: { clock: 'step', network: 'own', files: 'own' },
    });
    if (!answer.success) {
      expect(answer).toMatchObject({ code: 'OVERLOAD' });
      break;
    }
    made.push(answer.world_id);
  }
  expect(made.length).toBeLessThanOrEqual(50);
  for (const world_id of made) await client.call('WORLD_DESTROY', { world_id });
});
