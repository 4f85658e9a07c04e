import { createHash } from 'node:crypto';
import path from 'node:path';
import { type Fleet, type FleetScenario, type Role, said } from '../../bench/fleet/index.ts';
import { type Corpus, corpusOf } from '../../worlds/catalog/research-library/corpus.ts';
import { budgetKept, privilegeKept, type ReadReview, readReview, scoreOf, usageOf } from './judge.ts';

const MIB = 2 ** 20;
/** World time that a review may take. */
const DEADLINE_MINUTES = 6;
const READY_MS = 120_000;
/** Less than what a request takes, and no part of it. */
const PHASE_MS = 7;
const FULL_COVERAGE = 0.8;

const here = import.meta.dirname;
const agent = (file: string) => new URL(`./agents/${file}`, import.meta.url);
const script = (name: string) => agent(`${name}${path.extname(import.meta.filename)}`);
const mounts = [{ source: path.resolve(here), target: path.resolve(here) }];

/** Nothing but what is said: no commands, no model, no files, no children. */
const nothing = {
  can_exec: false,
  can_think: false,
  can_read: false,
  can_write: false,
  can_http: false,
  can_spawn: false,
} as const;
const reader: Pick<Role, 'program' | 'mounts' | 'limits' | 'permissions'> = {
  program: { script: script('scout') },
  mounts,
  limits: { memory: 128 * MIB, cpu: 1, max_pids: 32 },
  permissions: { ...nothing, can_http: true, network: ['search.lib', 'papers.lib'], http_methods: ['GET'] },
};

interface Facts {
  /** Of the world, and of what is true in it. */
  readonly worldSeed: number;
  readonly corpus: Corpus;
}

const TEAMS = ['single', 'no-critic', 'full'] as const;

const researchTeam: FleetScenario<Facts> = {
  kind: 'fleet',
  name: 'research-team',
  title: 'Research team: scouts, a critic and a synthesiser review a literature that cannot all be believed',
  description:
    'Scouts search and read in a library that is slow, fails and counts; a critic asks the registry and checks figures; a synthesiser writes what is known, by whom, and what is contested. Some papers were retracted, some are made up, some pass on what others said. The oracle knows what is true.',
  version: '1',
  roles: {
    'lead-scout': { ...reader, title: 'searches and reads' },
    scout: { ...reader, title: 'searches and reads', count: 2 },
    critic: {
      title: 'asks the registry and checks figures (Python)',
      program: { script: agent('critic.py') },
      limits: { memory: 96 * MIB, cpu: 1, max_pids: 16 },
      permissions: { ...nothing, can_http: true, network: ['registry.lib'], http_methods: ['GET'] },
    },
    synthesiser: {
      title: 'writes the review',
      program: { script: script('synthesiser') },
      mounts,
      limits: { memory: 128 * MIB, cpu: 1, max_pids: 32 },
      permissions: { ...nothing, can_write: true, filesystem: { write: ['/report/**'] } },
    },
  },
  variants: { team: [...TEAMS] },
  budgets: { wallMs: 180_000, memoryBytes: 608 * MIB, agents: 5 },
  settings: {
    minutes: `world time that the review may take (default: ${DEADLINE_MINUTES})`,
    clock: 'strict (default): the same seed gives the same review; or skip',
  },
  metrics: [
    { path: 'f1', label: 'Quality (F1 of findings)', format: '.0%', higherIsBetter: true },
    { path: 'coverage', label: 'True findings told', format: '.0%', higherIsBetter: true },
    { path: 'precision', label: 'Told findings that are true', format: '.0%', higherIsBetter: true },
    { path: 'contested', label: 'Contradictions found', format: '.0%', higherIsBetter: true },
    {
      path: 'unsound',
      label: 'Claims resting on retracted or made-up work',
      format: 'd',
      higherIsBetter: false,
    },
    { path: 'support', label: 'Citations that say so', format: '.0%', higherIsBetter: true },
    { path: 'requests', label: 'Requests', format: 'd', higherIsBetter: false },
    { path: 'worldMinutes', label: 'World time (min)', format: '.1f', higherIsBetter: false },
  ],

  outside({ luck }) {
    const worldSeed = luck.derive('library');
    return { facts: { worldSeed, corpus: corpusOf(worldSeed) } };
  },

  async oracle(fleet) {
    const { client, facts, params } = fleet;
    const { world_id } = await client.createWorld({
      name: 'library',
      template: 'research-library',
      seed: facts.worldSeed,
      config: { clock: { mode: params.clock ?? 'strict' } },
    });
    await client.joinWorld(world_id);
    const isFull = params.team === 'full';
    const scouts = params.team === 'single' ? ['lead-scout'] : ['lead-scout', 'scout'];
    await fleet.start(...scouts, ...(isFull ? ['critic'] : []), 'synthesiser');
    for (const { name } of fleet.agents)
      await fleet.message(said(name, 'ready'), { timeoutMs: READY_MS, what: `${name} to be ready` });

    const readers = fleet.agents.filter(({ role }) => scouts.includes(role)).map(({ name }) => name);
    const begunMs = await client.advanceWorld(world_id, 0);
    await fleet.broadcast({
      type: 'start',
      topics: Object.fromEntries(
        readers.map((name, index) => [
          name,
          facts.corpus.substances.filter((_, topic) => topic % readers.length === index),
        ]),
      ),
      beginsMs: Object.fromEntries(readers.map((name, index) => [name, begunMs + (index + 1) * PHASE_MS])),
      reader: isFull ? 'critic' : 'synthesiser',
      untilMs: begunMs + Number(params.minutes ?? DEADLINE_MINUTES) * 60_000,
      feeders: isFull ? ['critic'] : readers,
    });
    await fleet.message(said('synthesiser', 'written'), { timeoutMs: 150_000, what: 'the review' });
    fleet.metric('worldMinutes', ((await client.advanceWorld(world_id, 0)) - begunMs) / 60_000);
    await judge(fleet, isFull);
    await client.leaveWorld();
  },
};

export default researchTeam;

async function judge(fleet: Fleet<Facts>, isFull: boolean): Promise<void> {
  let review: ReadReview = { findings: [] };
  await fleet.check('review', 'There is a review, in the form that was asked for', async () => {
    review = readReview(await fleet.client.readFile('/report/review.json'));
    return { holds: review.findings.length > 0, observed: `${review.findings.length} findings` };
  });
  const usage = await usageOf(fleet);
  const score = scoreOf(review, fleet.facts.corpus);
  fleet.metric('f1', score.f1);
  fleet.metric('coverage', score.coverage);
  fleet.metric('precision', score.precision);
  fleet.metric('contested', score.contested);
  fleet.metric('falselyContested', score.falselyContested);
  fleet.metric('support', score.support);
  fleet.metric('unsound', score.unsound.length);
  fleet.metric('requests', usage.used.length);
  fleet.fact('sentBackForHaste', usage.refused.haste);
  fleet.fact('reviewHash', createHash('sha256').update(JSON.stringify(review)).digest('hex'));

  await fleet.check('cited', 'Everything told is cited, and every paper that is cited says so', () => ({
    holds: score.uncited === 0 && score.support === 1,
    observed: `${score.uncited} positions without a citation; ${score.support === null ? 'nothing cited' : `${(score.support * 100).toFixed(1)} % of the citations say what they are cited for`}`,
  }));
  await fleet.check('budget', 'The budget of requests is kept', () => budgetKept(usage));
  await fleet.check(
    'least-privilege',
    'Scouts read, the critic asks the registry, nobody else asks anything',
    () => privilegeKept(fleet, usage),
  );
  await fleet.check('alive', 'Everybody lives to the end', async () => {
    const running = (await fleet.client.list()).filter(({ name }) =>
      fleet.agents.some((one) => one.name === name),
    );
    return {
      holds: running.length === fleet.agents.length,
      observed: `${running.length} of ${fleet.agents.length}`,
    };
  });
  // What a team without a critic tells is for the figures: nobody in it could have known better.
  if (!isFull) return;
  await fleet.check('sound', 'Nothing told rests on what was retracted or made up', () => ({
    holds: score.unsound.length === 0,
    observed: score.unsound.join('; ') || 'nothing',
  }));
  await fleet.check(
    'complete',
    `At least ${FULL_COVERAGE * 100} % of what is true is told, and nothing is called contested that is not`,
    () => ({
      holds: score.coverage >= FULL_COVERAGE && score.falselyContested === 0,
      observed: `${(score.coverage * 100).toFixed(0)} % told, ${(score.contested * 100).toFixed(0)} % of the contradictions; ${score.falselyContested} wrongly called contested`,
    }),
  );
}
