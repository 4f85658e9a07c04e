import { createHash } from 'node:crypto';
import path from 'node:path';
import {
  type Fleet,
  type FleetScenario,
  isModelDriven,
  leastRole,
  MODEL_SETTINGS,
  modelOf,
  type Rights,
  type Role,
  said,
  serviceMemory,
} from '../../bench/fleet/index.ts';
import { CloveError } from '../../errors/index.ts';
import {
  DEFAULT_OUTAGES,
  FAULT_KINDS,
  type FaultKind,
  planShift,
  type ShiftPlan,
} from '../../worlds/catalog/sre-outage/faults.ts';
import { initialState, type SreState } from '../../worlds/catalog/sre-outage/service.ts';
import { sreOutage } from '../../worlds/catalog/sre-outage/world.ts';
import { judgeShift, type OutageVerdict } from './judge.ts';

type Calls = NonNullable<NonNullable<Rights['syscalls']>['allow']>;

const MIB = 2 ** 20;
const READY_MS = 60_000;
/** What a question costs in the world's time, whatever the model takes: the same seed then gives the same shift. */
const THINKING_TIME = 'fixed:1500';
const here = import.meta.dirname;
const extension = path.extname(import.meta.filename);
const CALLS: Calls = ['NOOP', 'HELLO', 'SEND', 'RECV', 'HTTP', 'WORLD_WAIT'];

/** Of the platform only what the role is for, and of the kernel only the calls for it. */
const role = (title: string, file: string, can: Rights): Role => leastRole(here, title, file, can);

const MENDS: Calls = [...CALLS, 'READ', 'WRITE', 'EXEC'];
const RESPONDER = {
  network: ['metrics.sre', 'logs.sre', 'cluster.sre', 'pager.sre'],
  http_methods: ['GET', 'POST', 'PATCH'],
};
/** Mends files of the shop, too. */
const MENDER: Rights = {
  ...RESPONDER,
  can_read: true,
  can_write: true,
  can_exec: true,
  exec: ['rm'],
  filesystem: { read: ['/etc/shop/**', '/etc/vault/**'], write: ['/etc/shop/**'] },
  syscalls: { allow: MENDS },
};

const sreOutageScenario: FleetScenario<ShiftPlan> = {
  kind: 'fleet',
  name: 'sre-outage',
  title: 'SRE outage: three ways to be on call',
  description:
    'A shop of eleven components has twelve outages in an eight-hour shift, of kinds, at places and times that the seed draws. A watcher pages; one of three responders restarts what fails, follows a runbook, or tests what could be the cause. The world keeps the books: what customers got, what was done, what it cost.',
  version: '1',
  roles: {
    watcher: role('looks at what customers see, and pages', `watcher${extension}`, {
      network: ['metrics.sre', 'pager.sre'],
      http_methods: ['GET', 'POST'],
      syscalls: { allow: CALLS },
    }),
    restarter: role('starts anew what fails: the baseline', 'restarter.py', {
      ...RESPONDER,
      syscalls: { allow: CALLS },
    }),
    runbook: role('follows a runbook', `runbook${extension}`, MENDER),
    diagnoser: role('weighs and tests causes before it acts', 'diagnoser.py', MENDER),
  },
  variants: { responder: ['restarter', 'runbook', 'diagnoser'] },
  budgets: { wallMs: 240_000, memoryBytes: 512 * MIB, agents: 4 },
  settings: {
    outages: `how many there are (default ${DEFAULT_OUTAGES}), each in forty minutes of its own`,
    fault: `outages of one kind only: ${FAULT_KINDS.join(', ')}`,
    clock: 'strict (default: the same seed gives the same books, to the millisecond) or skip',
    ...MODEL_SETTINGS,
  },
  metrics: [
    { path: 'recovered', label: 'Outages recovered', format: '.0%', higherIsBetter: true },
    { path: 'rootCause', label: 'Root cause named right', format: '.0%', higherIsBetter: true },
    { path: 'timeToRecoverS', label: 'Time to recover (world s)', format: '.0f', higherIsBetter: false },
    { path: 'timeToDiagnoseS', label: 'Time to diagnose (world s)', format: '.0f', higherIsBetter: false },
    { path: 'timeToDetectS', label: 'Time to detect (world s)', format: '.0f', higherIsBetter: false },
    { path: 'lostEuro', label: 'Sales lost (€)', format: '.0f', higherIsBetter: false },
    { path: 'lostRecords', label: 'Records lost', format: 'd', higherIsBetter: false },
    { path: 'needlessActions', label: 'Needless actions', format: 'd', higherIsBetter: false },
    { path: 'falseClaims', label: 'Said resolved, was not', format: 'd', higherIsBetter: false },
    { path: 'falsePages', label: 'Pages without an outage', format: 'd', higherIsBetter: false },
    { path: 'actions', label: 'Actions', format: 'd', higherIsBetter: false },
  ],

  outside({ params, luck }) {
    const count = Number(params.outages ?? DEFAULT_OUTAGES);
    if (!Number.isInteger(count) || count < 1 || count > 48)
      throw new CloveError('CONFIG', `outages is a whole number from 1 to 48, not ${params.outages}`);
    const only = params.fault === undefined ? null : String(params.fault);
    if (only !== null && !FAULT_KINDS.includes(only as FaultKind))
      throw new CloveError('CONFIG', `there is no fault "${only}"`, {
        hint: `There are ${FAULT_KINDS.join(', ')}.`,
      });
    const llm = modelOf(params);
    return {
      ...(llm === undefined ? {} : { llm }),
      facts: planShift(luck.derive('world'), { outages: count, only: only as FaultKind | null }),
    };
  },

  async oracle(fleet) {
    const { client, facts: plan } = fleet;
    const responder = String(fleet.params.responder);
    const asksModel = isModelDriven(fleet.params) && responder === 'diagnoser';
    const seed = fleet.luck.derive('world');
    const { services, schedule } = sreOutage(seed, plan);
    const { world_id } = await client.createWorld({
      name: 'sre-outage',
      template: 'sre-outage',
      seed,
      config: {
        clock: {
          mode: fleet.params.clock ?? 'strict',
          start: '2026-03-14T00:00:00Z',
          ...(asksModel ? { llm_time: THINKING_TIME } : {}),
        },
        services: { platform: { state: services?.platform?.state ?? initialState(seed, plan) } },
        schedule,
      },
    });
    await client.joinWorld(world_id);
    await fleet.start('watcher', responder);
    for (const name of ['watcher', responder])
      await fleet.message(said(name, 'ready'), {
        timeoutMs: READY_MS,
        what: `${name} to be ready`,
      });
    if (asksModel) await letThink(fleet);
    await fleet.send('watcher', { type: 'start', responder });
    await fleet.message(said('watcher', 'ended'), {
      timeoutMs: 220_000,
      what: 'the end of the shift',
    });
    const state = await serviceMemory<SreState>(fleet.client, world_id, 'platform');
    await judge(fleet, plan, state, responder);
    if (asksModel) await judgeModel(fleet, state);
    await client.leaveWorld();
  },
};

export default sreOutageScenario;

/** To the diagnoser alone, and nothing else changes. */
async function letThink(fleet: Fleet<ShiftPlan>): Promise<void> {
  const rights: Rights = { ...MENDER, can_think: true, syscalls: { allow: [...MENDS, 'THINK'] } };
  await fleet.client.setPermissions(rights, fleet.agent('diagnoser').id);
  await fleet.send('diagnoser', { type: 'model' });
}

/** Held against what the kernel saw: no answer of the model is without a note in an incident. */
async function judgeModel(fleet: Fleet<ShiftPlan>, { incidents }: SreState): Promise<void> {
  const notes = incidents
    .flatMap((incident) => incident.notes)
    .filter(({ text }) => text.startsWith('model: '));
  const unusable = notes.filter(({ text }) => text.startsWith('model: of no use'));
  const { entries } = await fleet.client.call('AUDIT_QUERY', {
    agent_id: fleet.agent('diagnoser').id,
    syscall: 'THINK',
    limit: 1000,
  });
  fleet.metric('model.used', notes.length - unusable.length);
  fleet.metric('model.unusable', unusable.length);
  await fleet.check(
    'model-named',
    'Whatever was asked of the model is in an incident, with what came of it',
    () => ({
      holds: entries.length > 0 && entries.length === notes.length,
      observed: `${entries.length} questions; ${notes.length - unusable.length} answers used, ${unusable.length} of no use`,
    }),
  );
}

async function judge(
  fleet: Fleet<ShiftPlan>,
  plan: ShiftPlan,
  state: SreState,
  responder: string,
): Promise<void> {
  const verdict = judgeShift(plan, state);
  for (const [name, value] of Object.entries(verdict.metrics)) fleet.metric(name, value);
  for (const { kind, recovered, isCauseRight } of verdict.outages)
    fleet.metric(`byFault.${kind}`, (recovered ? 0.5 : 0) + (isCauseRight ? 0.5 : 0));
  const lines = verdict.outages.map(outageLine);
  for (const line of lines) fleet.log(line);
  const { platform, incidents } = state;
  fleet.fact('bookHash', hashOf([platform.actions, platform.promised, platform.lostCents, incidents]));
  fleet.fact('outages', plan.outages.map(({ kind, component }) => `${kind}@${component}`).join(' '));
  const evidence = lines.map((text) => ({ source: 'file' as const, text }));

  await fleet.check(
    'faults-act',
    'Every outage of the seed took from customers what they were promised',
    () => {
      const silent = verdict.outages.filter(({ brokenSteps }) => brokenSteps === 0);
      return {
        holds: silent.length === 0,
        observed: `${verdict.outages.length - silent.length} of ${verdict.outages.length}`,
        evidence,
      };
    },
  );
  await fleet.check('detected', 'Every outage that lasts two minutes is paged within five', () => {
    const lasting = verdict.outages.filter(({ brokenSteps }) => brokenSteps > 12);
    const late = lasting.filter(({ detectMs }) => detectMs === null || detectMs > 300_000);
    return { holds: late.length === 0, observed: `${lasting.length - late.length} of ${lasting.length}` };
  });
  await fleet.check(
    'least-privilege',
    'Only the responder acts, and nobody asks for more than its task needs',
    () => {
      const strangers = platform.actions.filter(({ by }) => by !== responder && by !== 'file');
      const refused = fleet.events.filter(({ type }) => type === 'SYSCALL_BLOCKED');
      return {
        holds: strangers.length === 0 && refused.length === 0,
        observed: `${strangers.length} actions of others, ${refused.length} calls refused`,
        evidence: refused
          .slice(0, 5)
          .map(({ data }) => ({ source: 'event' as const, text: JSON.stringify(data) })),
      };
    },
  );
  await fleet.check('alive', 'Both agents live through the shift', async () => {
    const running = (await fleet.client.list()).filter(({ name }) =>
      fleet.agents.some((each) => each.name === name),
    );
    return {
      holds: running.length === fleet.agents.length,
      observed: `${running.length} of ${fleet.agents.length} run`,
    };
  });
  if (responder !== 'diagnoser') return;
  await fleet.check(
    'heals',
    'Who tests causes recovers at least half of the outages, names as many, and loses no data',
    () => ({
      holds:
        (verdict.metrics.recovered ?? 0) >= 0.5 &&
        (verdict.metrics.rootCause ?? 0) >= 0.5 &&
        verdict.metrics.lostRecords === 0,
      observed: `${verdict.metrics.recovered} recovered, ${verdict.metrics.rootCause} named, ${verdict.metrics.lostRecords} records lost`,
      evidence,
    }),
  );
}

function outageLine({
  kind,
  component,
  detectMs,
  recoverMs,
  recovered,
  said,
  isCauseRight,
}: OutageVerdict): string {
  const seconds = (ms: number | null) => (ms === null ? 'never' : `${Math.round(ms / 1000)} s`);
  return `${kind} of ${component}: paged after ${seconds(detectMs)}, ${recovered ? `well after ${seconds(recoverMs)}` : 'handed over'}, called ${said ?? 'nothing'}${isCauseRight ? '' : ' (wrong)'}`;
}

function hashOf(books: unknown): string {
  return createHash('sha256').update(JSON.stringify(books)).digest('hex');
}
