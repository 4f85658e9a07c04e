import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CloveError } from '../errors/index.ts';
import { type FleetDefinition, parseFleet } from './definition.ts';
import type { Problem } from './source.ts';
import { nearest } from './suggest.ts';

const parse = (text: string, env: Record<string, string> = {}): FleetDefinition =>
  parseFleet('clove.yaml', text, env);

/** "line:column path: message" of each problem. */
function problemsOf(text: string, env: Record<string, string> = {}): string[] {
  try {
    parse(text, env);
  } catch (error) {
    if (!(error instanceof CloveError)) throw error;
    expect(error.code).toBe('CONFIG');
    const { problems } = error.details as unknown as { problems: Problem[] };
    return problems.map(({ line, column, path: at, message }) => `${line}:${column} ${at}: ${message}`);
  }
  return [];
}

const command = 'command: [/bin/true]';

describe('a fleet file', () => {
  it('says where each mistake is, and what was probably meant', () => {
    const text = `fleet: shop
defaults:
  limits: { memroy: 1G }
groups:
  front: { strategy: one_for_al }
agents:
  db:
    ${command}
    limits:
      memory: lots
      cpu: "2"
    restart: { polcy: always }
  web:
    comand: [/bin/true]
    depends_on: [bd]
    group: frnt
    health: { check: exec, intervall: 5s }
    stop_grace: 5
`;
    expect(problemsOf(text)).toEqual([
      '3:13 defaults.limits.memroy: unknown key; did you mean "memory"?',
      '5:22 groups.front.strategy: expected one of one_for_one, one_for_all, rest_for_one, found "one_for_al"; did you mean "one_for_all"?',
      '10:15 agents.db.limits.memory: expected a size of at least 1048576 bytes, such as 256M or 1.5G; found "lots"',
      '11:12 agents.db.limits.cpu: expected number, found "2"',
      '12:14 agents.db.restart.policy: expected one of never, always, on-failure, found nothing',
      '12:16 agents.db.restart.polcy: unknown key; did you mean "policy"?',
      '14:5 agents.web.comand: unknown key; did you mean "command"?',
      '17:28 agents.web.health.intervall: unknown key; did you mean "interval"?',
      '18:17 agents.web.stop_grace: expected a duration such as 500ms, 10s or 2m; found 5',
    ]);
  });

  it('is checked as a whole where its form is right', () => {
    const text = `fleet: shop
groups:
  a: { parent: b }
  b: { parent: a }
agents:
  db: { ${command}, depends_on: [web] }
  web:
    ${command}
    script: ./web.ts
    depends_on: [db, bd]
    group: c
    env_from: [TOKEN]
`;
    expect(problemsOf(text)).toEqual([
      '3:16 groups.a.parent: a group cannot be below itself: a → b → a',
      '4:16 groups.b.parent: a group cannot be below itself: b → a → b',
      '7:3 agents.web: expected either `script` or `command`',
      '10:22 agents.web.depends_on[1]: there is no agent "bd"; did you mean "db"?',
      '11:12 agents.web.group: there is no group "c"; did you mean "a"?',
    ]);
    expect(
      problemsOf(
        `fleet: x\nagents:\n  a: { ${command}, depends_on: [b] }\n  b: { ${command}, depends_on: [a] }\n`,
      ),
    ).toEqual(['3:30 agents.a.depends_on: would wait for itself: a → b → a']);
    expect(
      problemsOf(`fleet: x\nagents:\n  a:\n    script: none.py\n    env_from: [HOME, TOKEN]\n`, {
        HOME: '/',
      }),
    ).toEqual([
      expect.stringMatching(/^4:13 agents\.a\.script: cannot be read: ENOENT/),
      '5:22 agents.a.env_from[1]: the variable TOKEN is not set',
    ]);
  });

  it('that is no YAML says where it stops being it', () => {
    expect(problemsOf('fleet: x\nagents:\n  a: {b: [}\n')[0]).toMatch(/^3:\d+ : /);
    expect(problemsOf('fleet: x\nfleet: y\nagents: {}\n')).toEqual(['2:1 : Map keys must be unique']);
    expect(problemsOf('')).toEqual([expect.stringMatching(/^1:1 : /)]);
    expect(problemsOf('- 1')).toEqual([expect.stringMatching(/expected object/)]);
    // Aliases that grow without end are refused, not followed.
    const bomb = [
      'a0: &a0 [x,x,x,x,x,x,x,x,x]',
      ...Array.from({ length: 9 }, (_, n) => `a${n + 1}: &a${n + 1} [${`*a${n},`.repeat(9)}]`),
    ];
    expect(problemsOf(bomb.join('\n'))).toEqual([expect.stringMatching(/alias/i)]);
  });

  it('puts everybody after those it needs, with replicas one by one and groups together', () => {
    const { agents, groups } = parse(`
fleet: shop
groups:
  top: { strategy: rest_for_one }
  pool: { parent: top }
agents:
  web: { ${command}, group: top, depends_on: [worker] }
  alone: { ${command} }
  worker: { ${command}, group: pool, replicas: 2, depends_on: [db] }
  db: { ${command}, group: top }
`);
    expect(agents.map(({ name }) => name)).toEqual(['db', 'worker-1', 'worker-2', 'web', 'alone']);
    expect(agents[3]?.request.depends_on).toEqual(['worker-1', 'worker-2']);
    expect(agents.map(({ request }) => request.group_order)).toEqual([0, 1, 2, 3, 4]);
    expect(groups.map(({ name, order, parent }) => [name, order, parent])).toEqual([
      ['top', 0, undefined],
      ['pool', 1, 'top'],
    ]);
  });

  it('becomes requests of the kernel, with units, defaults and variables', () => {
    const [agent] = parse(
      `
fleet: shop
defaults:
  limits: { memory: 128M, cpu: 0.5 }
  env: { A: 1, B: two }
  env_from: [TOKEN]
  restart: always
agents:
  web:
    ${command}
    limits: { cpu: 2, pids: 8 }
    env: { B: three, C: true }
    restart: { policy: on-failure, max: 2, within: 1m, backoff: 50ms, min_uptime: 2s }
    ready: { on: name, name: www, timeout: 10s }
    health: { check: exec, command: [/bin/true], interval: 1s }
    stop_grace: 1500ms
    network: none
    quotas: { state_bytes: 1k }
`,
      { TOKEN: 'secret' },
    ).agents;
    expect(agent?.request).toMatchObject({
      name: 'web',
      command: ['/bin/true'],
      env: { A: '1', B: 'three', C: 'true', TOKEN: 'secret' },
      limits: { memory: 128 * 2 ** 20, cpu: 2, max_pids: 8 },
      restart_policy: 'on-failure',
      max_restarts: 2,
      restart_window: 60,
      restart_backoff_ms: 50,
      restart_min_uptime_ms: 2000,
      ready: { on: 'name', name: 'www', timeout_ms: 10_000 },
      health: { check: 'exec', command: ['/bin/true'], interval_ms: 1000 },
      stop_grace_ms: 1500,
      network: false,
    });
    expect(agent?.quotas).toEqual({ state_bytes: 1024 });
  });

  it('tells new code from new settings', () => {
    const of = (lines: string) => parse(`fleet: x\nagents:\n  a:\n    ${command}\n    ${lines}\n`).agents[0];
    const base = of('env: { A: 1 }');
    expect(of('env: { A: "1" }')).toMatchObject({ code: base?.code, spec: base?.spec });
    expect(of('env: { A: 2 }')?.spec).toBe(base?.spec);
    expect(of('env: { A: 2 }')?.code).not.toBe(base?.code);
    const limited = of('env: { A: 1 }\n    limits: { pids: 8 }');
    expect(limited?.code).toBe(base?.code);
    expect(limited?.spec).not.toBe(base?.spec);
  });

  it('of the example is sound', async () => {
    const { loadFleet } = await import('./definition.ts');
    const { name, agents } = loadFleet(path.join(import.meta.dirname, '../examples/fleet/clove.yaml'), {});
    expect(name).toBe('pipeline');
    expect(agents.map((agent) => agent.name)).toEqual([
      'migrate',
      'store',
      'worker-1',
      'worker-2',
      'dispatcher',
    ]);
  });
});

it('no text whatsoever is taken for a fleet without being one, or ends in anything but a problem', () => {
  const words = fc.constantFrom(
    'fleet',
    'agents',
    'a',
    ':',
    ' ',
    '\n',
    '  ',
    '- ',
    '{',
    '}',
    '[',
    ']',
    '&x',
    '*x',
    'script',
    '"',
    "'",
    '|',
    '!!map',
    '1',
    '~',
    '<<',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(words, { maxLength: 40 }).map((all) => all.join('')),
      ),
      (text) => {
        try {
          expect(parse(text).name).toMatch(/^[A-Za-z0-9]/);
        } catch (error) {
          expect(error).toMatchObject({ code: 'CONFIG' });
        }
      },
    ),
    { numRuns: 500 },
  );
});

it('a word is taken for its neighbour, and no other', () => {
  expect(nearest('memroy', ['memory', 'cpu'])).toBe('memory');
  expect(nearest('x', ['memory', 'cpu'])).toBeNull();
  expect(nearest('CPU', ['memory', 'cpu'])).toBe('cpu');
});
