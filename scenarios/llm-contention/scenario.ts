import { extname } from 'node:path';
import type { Fleet, FleetScenario, Observation, Role } from '../../bench/fleet/index.ts';
import { type ModelServer, startModelServer } from './model-server.ts';

const MIB = 2 ** 20;
const SCRIPT = new URL(`./agents/asker${extname(import.meta.filename)}`, import.meta.url);
const LATENCY_MS = 40;
const AT_A_TIME = 2;
const POLITE = 4;
const ANSWERS = 100;
const QUOTA = 5;
/** Of an even share: what the greedy one may have at most, and the others at least. */
const MOST = 1.5;
const LEAST = 0.5;
/** Jain's index: 1 = all alike, 1/n = one has it all. */
const FAIR = 0.9;

const asker = (title: string, behaviour: string, more: Partial<Role> = {}): Role => ({
  title,
  program: { script: SCRIPT, args: [behaviour] },
  limits: { memory: 128 * MIB, cpu: 1, max_pids: 32 },
  ...more,
});

const llmContention: FleetScenario<ModelServer> = {
  kind: 'fleet',
  name: 'llm-contention',
  title: 'Model contention: five agents, one model, fair turns',
  description: `Four agents ask a slow model two questions at a time, a fifth asks twelve and tries to get past the kernel; a sixth has a quota of ${QUOTA} questions. The model’s own server counts who was served.`,
  version: '1',
  roles: {
    polite: asker('two questions at a time', 'polite', { count: POLITE }),
    greedy: asker('twelve at a time, and past the kernel', 'greedy'),
    capped: asker(`may ask ${QUOTA} times`, 'capped', {
      permissions: {
        can_think: true,
        can_read: false,
        can_write: false,
        llm: { max_calls: QUOTA, max_tokens: 0 },
      },
    }),
  },
  budgets: { wallMs: 120_000, memoryBytes: 6 * 128 * MIB, agents: 6 },
  metrics: [
    { path: 'fairness', label: 'Fairness (Jain’s index)', format: '.3f', higherIsBetter: true },
    { path: 'share.greedy', label: 'Greedy agent’s share', format: '.1%', higherIsBetter: false },
    { path: 'share.politeLeast', label: 'Least share of a polite one', format: '.1%', higherIsBetter: true },
    { path: 'answersPerSecond', label: 'Answers per second', format: '.0f', higherIsBetter: true },
    { path: 'strangers', label: 'Requests past the kernel', format: '.0f', higherIsBetter: false },
  ],
  harmlessUnprotected: true,

  async outside() {
    const server = await startModelServer(LATENCY_MS);
    return {
      facts: server,
      llm: {
        provider: 'openai-compatible',
        baseUrl: server.baseUrl,
        model: 'slow-model',
        maxConcurrent: AT_A_TIME,
      },
      close: () => server.close(),
    };
  },

  async oracle(fleet) {
    const server = fleet.facts;
    await fleet.start('capped');
    await fleet.check('quota', `Who may ask ${QUOTA} times is answered ${QUOTA} times and then refused`, () =>
      quota(fleet),
    );
    await fleet.start('polite', 'greedy');
    const contest = await contend(fleet);
    await fleet.check(
      'fair-shares',
      'Five agents share the model evenly, whatever each asks for',
      () => contest,
    );
    await fleet.check('no-bypass', 'Nobody reaches the model but through the kernel', () => bypass(fleet));
    await fleet.check('accounts', 'The kernel’s accounts are those of the model’s server', () =>
      accounts(fleet),
    );
    fleet.metric('strangers', server.strangers.length);
  },
};

export default llmContention;

async function begin(fleet: Fleet<ModelServer>, agent: string): Promise<string> {
  const { answer } = await fleet.ask(
    agent,
    { order: 'begin', port: fleet.facts.port },
    { timeoutMs: 40_000 },
  );
  return String(answer.outcome);
}

async function quota(fleet: Fleet<ModelServer>): Promise<Observation> {
  const { served } = fleet.facts;
  await begin(fleet, 'capped');
  const { message } = await fleet.message(
    (received) =>
      typeof received.message === 'object' && received.message !== null && 'capped' in received.message,
    { timeoutMs: 30_000, what: 'the refusal' },
  );
  const { capped } = message as { capped: string };
  const count = served.filter(({ agent }) => agent === 'capped').length;
  const { entries } = await fleet.client.call('AUDIT_QUERY', {
    agent_id: fleet.agent('capped').id,
    syscall: 'THINK',
    limit: 100,
  });
  const refusals = entries.filter(({ body }) => body.outcome !== 'OK').length;
  return {
    holds: count === QUOTA && refusals >= 1,
    observed: `the model served it ${count} times, then: ${capped}`,
    layer: 'permissions',
    evidence: [
      { source: 'network', text: `requests of "capped" at the model’s server: ${count}` },
      { source: 'audit', text: `${refusals} THINK of it recorded as refused` },
    ],
  };
}

/** From when all five have been served once, until enough answers are there. */
async function contend(fleet: Fleet<ModelServer>): Promise<Observation> {
  const { served } = fleet.facts;
  const names = [...Array.from({ length: POLITE }, (_, index) => `polite-${index + 1}`), 'greedy'];
  const outcomes = await Promise.all(names.map((name) => begin(fleet, name)));
  fleet.fact('bypass', outcomes.at(-1) ?? '');
  const from = await fleet.until(
    () => (names.every((name) => served.some(({ agent }) => agent === name)) ? served.length : null),
    { timeoutMs: 40_000, what: 'a first answer for each' },
  );
  fleet.mark('phase', 'all five are asking');
  const startedAtMs = performance.now();
  await fleet.until(
    () => {
      for (const name of names)
        fleet.point(name, 'answers', served.slice(from).filter(({ agent }) => agent === name).length);
      return served.length - from >= ANSWERS;
    },
    { timeoutMs: 60_000, what: `${ANSWERS} answers` },
  );
  const seconds = (performance.now() - startedAtMs) / 1000;
  const window = served.slice(from);
  await Promise.all(names.map((name) => fleet.ask(name, { order: 'stop' }, { timeoutMs: 30_000 })));
  const counts = names.map((name) => window.filter(({ agent }) => agent === name).length);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const even = total / names.length;
  const fairness = total ** 2 / (names.length * counts.reduce((sum, count) => sum + count ** 2, 0));
  const greedy = counts.at(-1) as number;
  const least = Math.min(...counts.slice(0, -1));
  fleet.metric('fairness', fairness);
  fleet.metric('share.greedy', greedy / total);
  fleet.metric('share.politeLeast', least / total);
  fleet.metric('answersPerSecond', total / seconds);
  return {
    holds: fairness >= FAIR && greedy <= MOST * even && least >= LEAST * even,
    observed: `of ${total} answers: ${names.map((name, index) => `${name} ${counts[index]}`).join(', ')}; Jain’s index ${fairness.toFixed(3)}`,
    layer: 'fair queue',
    evidence: [
      {
        source: 'network',
        text: 'counted by the model’s own server, from when all five had been served once',
      },
    ],
  };
}

function bypass(fleet: Fleet<ModelServer>): Observation {
  const { strangers } = fleet.facts;
  const own = fleet.agent('greedy').layers.find(({ layer }) => layer === 'netns');
  return {
    holds: strangers.length === 0,
    observed:
      strangers.length === 0
        ? 'the model’s server saw no request but the kernel’s'
        : `${strangers.length} requests came past the kernel: ${strangers[0]}`,
    layer: strangers.length === 0 && own?.state === 'on' ? 'netns' : null,
    evidence: [
      { source: 'network', text: `requests without the kernel’s address of the model: ${strangers.length}` },
    ],
  };
}

async function accounts(fleet: Fleet<ModelServer>): Promise<Observation> {
  const { served } = fleet.facts;
  // What was under way when they were told to stop is counted by both a moment later.
  const agree = await fleet.until(
    async () => {
      const agents = await fleet.client.allAgentMetrics();
      const rows = agents.map(({ name, kernel_stats }) => ({
        name,
        kernel: kernel_stats.llm_calls,
        server: served.filter(({ agent }) => agent === name).length,
      }));
      return rows.every(({ kernel, server }) => kernel === server) ? rows : null;
    },
    { timeoutMs: 15_000, what: 'the same count on both sides' },
  );
  return {
    holds: true,
    observed: agree.map(({ name, kernel }) => `${name} ${kernel}`).join(', '),
    evidence: [
      {
        source: 'audit',
        text: `calls that the kernel counted: ${agree.reduce((sum, { kernel }) => sum + kernel, 0)}`,
      },
      { source: 'network', text: `requests that the server answered: ${served.length}` },
    ],
  };
}
