import { defineWorld } from '../../definition.ts';

export default defineWorld({
  name: 'coding-project',
  description:
    'A small library with a failing test, its issue tracker and a package registry; during the day two more issues come in.',
  seed: 1,
  files: {
    initial: {
      '/work/README.md':
        '# money\n\nAmounts in cents, split without losing one. Issues: http://tracker.test/issues\n',
      '/work/package.json':
        '{ "name": "money", "version": "1.2.0", "type": "module", "scripts": { "test": "node --test" } }\n',
      '/work/src/split.js': `/** Splits an amount into so many parts that differ by at most one cent. */
export function split(cents, parts) {
  const each = Math.floor(cents / parts);
  return Array.from({ length: parts }, () => each);
}
`,
      '/work/src/format.js': `export function format(cents, currency = 'EUR') {
  return \`\${(cents / 100).toFixed(2)} \${currency}\`;
}
`,
      '/work/test/split.test.js': [
        "import assert from 'node:assert/strict';",
        "import test from 'node:test';",
        "import { split } from '../src/split.js';",
        '',
        "test('nothing is lost', () => {",
        '  assert.equal(split(1000, 3).reduce((a, b) => a + b), 1000);',
        '});',
        '',
        "test('parts differ by at most one', () => {",
        '  const parts = split(1001, 4);',
        '  assert.ok(Math.max(...parts) - Math.min(...parts) <= 1);',
        '});',
        '',
      ].join('\n'),
    },
    readonly: ['/work/test/**'],
  },
  services: {
    tracker: {
      host: 'tracker.test',
      collections: {
        issues: [
          { id: '1', title: 'split(1000, 3) loses a cent', state: 'open', labels: ['bug'] },
          { id: '2', title: 'format() shows -0.00', state: 'open', labels: ['bug', 'minor'] },
        ],
        comments: [],
      },
    },
  },
  network: {
    routes: [
      {
        host: 'registry.test',
        method: 'GET',
        path: '/money',
        json: { name: 'money', 'dist-tags': { latest: '1.1.0' }, versions: { '1.0.0': {}, '1.1.0': {} } },
      },
    ],
  },
  clock: { mode: 'skip', start: '2026-06-01T09:00:00Z' },
  schedule: [
    {
      name: 'second issue',
      at: '+1h',
      request: {
        url: 'http://tracker.test/issues',
        method: 'POST',
        json: {
          id: '3',
          title: 'split(10, 0) gives an endless list of nothing',
          state: 'open',
          labels: ['bug'],
        },
      },
    },
    {
      name: 'third issue',
      at: '+3h',
      request: {
        url: 'http://tracker.test/issues',
        method: 'POST',
        json: { id: '4', title: 'Support currencies without cents', state: 'open', labels: ['feature'] },
      },
    },
    { name: 'registry down', at: '+2h', event: 'error_rate', params: { hosts: 'registry.test' }, for: '30m' },
  ],
});
