import { extname } from 'node:path';
import {
  type Fleet,
  type FleetEvent,
  type FleetScenario,
  historyOf,
  type Observation,
  type Role,
} from '../../bench/fleet/index.ts';

const MIB = 2 ** 20;
const SCRIPT = new URL(`./agents/worker${extname(import.meta.filename)}`, import.meta.url);
const BACKOFF_MS = 100;
const BACKOFF_MAX_MS = 400;
const HOPELESS_RESTARTS = 3;

const worker = (title: string, behaviour: string, more: Partial<Role> = {}): Role => ({
  title,
  program: { script: SCRIPT, args: [behaviour] },
  limits: { memory: 128 * MIB, cpu: 1, max_pids: 32 },
  restart: { policy: 'on-failure', maxRestarts: 5, backoffMs: BACKOFF_MS, backoffMaxMs: BACKOFF_MAX_MS },
  ...more,
});

const supervisor: FleetScenario = {
  kind: 'fleet',
  name: 'supervisor',
  title: 'Supervision: what fails is brought back, what is hopeless is given up',
  description:
    'Workers that fail twice and then find their feet, one that never does, one that is finished, one that tries to take a neighbour along, and one that simply works.',
  version: '1',
  roles: {
    steady: worker('works, and is aimed at', 'steady'),
    flaky: worker('fails twice, then works', 'flaky', { count: 2 }),
    hopeless: worker('fails at once, always', 'hopeless', {
      restart: {
        policy: 'on-failure',
        maxRestarts: HOPELESS_RESTARTS,
        backoffMs: BACKOFF_MS,
        backoffMaxMs: BACKOFF_MAX_MS,
      },
    }),
    finished: worker('ends as it should', 'finishes'),
    saboteur: worker('kills a neighbour if it can, then itself', 'sabotages', {
      restart: { policy: 'never' },
    }),
  },
  budgets: { wallMs: 120_000, memoryBytes: 6 * 128 * MIB, agents: 6 },
  metrics: [
    {
      path: 'recoveryMs.max',
      label: 'From failure to the next life, longest (ms)',
      format: '.0f',
      higherIsBetter: false,
    },
    { path: 'recoveryMs.p50', label: 'median (ms)', format: '.0f', higherIsBetter: false },
    { path: 'restarts', label: 'Restarts', format: '.0f', higherIsBetter: false },
    { path: 'escalations', label: 'Given up', format: '.0f', higherIsBetter: false },
  ],
  harmlessUnprotected: true,

  async oracle(fleet) {
    await fleet.start('steady');
    await fleet.ask('steady', {}, { timeoutMs: 20_000 });
    await fleet.start('flaky', 'hopeless', 'finished', 'saboteur');
    await fleet.check(
      'flaky-recovers',
      'Who fails is started again, under its name and id, until it works',
      () => flaky(fleet),
    );
    await fleet.check(
      'mail-survives',
      'What is sent to it while it is down is answered by its next life',
      () => mail(fleet),
    );
    await fleet.check(
      'hopeless-escalates',
      `Who never works is given up after ${HOPELESS_RESTARTS} restarts, once and for good`,
      () => hopeless(fleet),
    );
    await fleet.check('backoff', 'Restarts wait a random time below a bound that doubles', () =>
      backoff(fleet),
    );
    await fleet.check('finished-stays', 'Who ended as it should is not started again', () => finished(fleet));
    await fleet.check('steady-untouched', 'The saboteur harms nobody but itself', () => steady(fleet));
    measure(fleet);
  },
};

export default supervisor;

const of = (fleet: Fleet, agent: string, type: string): FleetEvent[] =>
  fleet.events.filter((event) => event.agent === agent && event.type === type);

const trail = (fleet: Fleet, agent: string): string =>
  historyOf(agent, fleet.events)
    .lives.map(({ reason, exitCode, signal }) => (reason === null ? 'runs' : (signal ?? `exit ${exitCode}`)))
    .join(' → ');

async function flaky(fleet: Fleet): Promise<Observation> {
  const names = ['flaky-1', 'flaky-2'];
  const answers = await Promise.all(names.map((name) => fleet.ask(name, {}, { timeoutMs: 45_000 })));
  const rows = (await fleet.client.list()).filter(({ name }) => names.includes(name));
  const isSame = names.every((name) => rows.find((row) => row.name === name)?.id === fleet.agent(name).id);
  const lives = names.map((name) => of(fleet, name, 'AGENT_SPAWNED').length);
  return {
    holds: isSame && lives.every((count) => count === 3) && rows.every(({ restarts }) => restarts === 2),
    observed: `both work in their third life, under the id of their first: ${names.map((name) => `${name}: ${trail(fleet, name)}`).join('; ')}`,
    evidence: [
      {
        source: 'event',
        text: `AGENT_SPAWNED ${lives.join(' and ')} times; LIST counts ${rows.map(({ restarts }) => restarts).join(' and ')} restarts`,
      },
      {
        source: 'message',
        text: `both answered a question, in life ${answers.map(({ answer }) => answer.life).join(' and ')}`,
      },
    ],
  };
}

/** One more failure, by hand; what is sent then finds nobody at home. */
async function mail(fleet: Fleet): Promise<Observation> {
  const name = 'flaky-1';
  const { id } = fleet.agent(name);
  const isNew = (known: number) => () => of(fleet, name, 'AGENT_RESTARTING').length > known;
  const before = of(fleet, name, 'AGENT_RESTARTING').length;
  const row = (await fleet.client.list()).find((one) => one.id === id);
  if (row === undefined || row.pid <= 1) return { holds: false, observed: 'it does not run' };
  fleet.mark('fault', 'killed from outside', name);
  process.kill(row.pid, 'SIGKILL');
  await fleet.event(isNew(before), { what: 'its restart' });
  const sentAtMs = fleet.nowMs();
  const { ms, answer } = await fleet.ask(name, {}, { timeoutMs: 30_000 });
  const lives = of(fleet, name, 'AGENT_SPAWNED');
  return {
    holds: answer.life === lives.length && lives.length === before + 2,
    observed: `answered after ${Math.round(ms)} ms, in life ${answer.life}`,
    evidence: [
      {
        source: 'event',
        text: `asked at ${Math.round(sentAtMs)} ms, the process that answered began at ${Math.round(lives.at(-1)?.atMs ?? 0)} ms`,
      },
    ],
  };
}

async function hopeless(fleet: Fleet): Promise<Observation> {
  await fleet.event(({ type, agent }) => type === 'AGENT_ESCALATED' && agent === 'hopeless', {
    timeoutMs: 45_000,
    what: 'the escalation',
  });
  await fleet.exit('hopeless');
  const listed = (await fleet.client.list()).some(({ name }) => name === 'hopeless');
  const spawned = of(fleet, 'hopeless', 'AGENT_SPAWNED').length;
  const escalated = of(fleet, 'hopeless', 'AGENT_ESCALATED').length;
  return {
    holds: spawned === HOPELESS_RESTARTS + 1 && escalated === 1 && !listed,
    observed: `${trail(fleet, 'hopeless')}, then given up ${escalated === 1 ? 'once' : `${escalated} times`}; ${listed ? 'still listed' : 'nothing of it is left'}`,
    evidence: [
      {
        source: 'event',
        text: `${spawned} AGENT_SPAWNED, ${of(fleet, 'hopeless', 'AGENT_RESTARTING').length} AGENT_RESTARTING, ${escalated} AGENT_ESCALATED`,
      },
    ],
  };
}

function backoff(fleet: Fleet): Observation {
  const delays = of(fleet, 'hopeless', 'AGENT_RESTARTING').map(({ data }) => Number(data.delay_ms));
  const bounds = delays.map((_, index) => Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** index));
  return {
    holds:
      delays.length > 0 && delays.every((delay, index) => delay >= 0 && delay < (bounds[index] as number)),
    observed: `waits of ${delays.join(', ')} ms below ${bounds.join(', ')} ms`,
    evidence: [{ source: 'event', text: `delay_ms of AGENT_RESTARTING: ${delays.join(', ')}` }],
  };
}

async function finished(fleet: Fleet): Promise<Observation> {
  const exit = await fleet.exit('finished', { timeoutMs: 30_000 });
  const spawned = of(fleet, 'finished', 'AGENT_SPAWNED').length;
  return {
    holds: exit.exit_code === 0 && spawned === 1 && exit.state === 'stopped',
    observed: `one life, ended with exit ${exit.exit_code}; its state is ${exit.state}`,
    evidence: [{ source: 'exit', text: `reason ${exit.reason}, restarts ${exit.restart_count}` }],
  };
}

async function steady(fleet: Fleet): Promise<Observation> {
  const { pid } = fleet.agent('steady');
  const { answer } = await fleet.ask('saboteur', { pid }, { timeoutMs: 30_000 });
  const exit = await fleet.exit('saboteur');
  const { answer: own } = await fleet.ask('steady', {}, { timeoutMs: 20_000 });
  const lives = of(fleet, 'steady', 'AGENT_SPAWNED').length;
  const isSafe = lives === 1 && own.life === 1;
  return {
    holds: isSafe,
    observed: isSafe
      ? `SIGKILL to process ${pid} went to nobody (${String(answer.outcome)}); the saboteur ended by ${exit.signal ?? exit.reason}`
      : `the steady worker was killed: ${trail(fleet, 'steady')}`,
    layer: isSafe && answer.outcome === 'ESRCH' ? 'pidns' : null,
    evidence: [
      { source: 'event', text: `AGENT_SPAWNED of the steady worker: ${lives}` },
      { source: 'message', text: `it answers, in life ${own.life}` },
    ],
  };
}

function measure(fleet: Fleet): void {
  const gaps = fleet.agents
    .flatMap(({ name }) => {
      const { lives } = historyOf(name, fleet.events);
      return lives.slice(1).map((life, index) => life.fromMs - (lives[index]?.toMs ?? life.fromMs));
    })
    .sort((a, b) => a - b);
  fleet.metric('recoveryMs.p50', gaps[Math.floor(gaps.length / 2)] ?? null);
  fleet.metric('recoveryMs.max', gaps.at(-1) ?? null);
  fleet.metric('restarts', fleet.events.filter(({ type }) => type === 'AGENT_RESTARTING').length);
  fleet.metric('escalations', fleet.events.filter(({ type }) => type === 'AGENT_ESCALATED').length);
}
