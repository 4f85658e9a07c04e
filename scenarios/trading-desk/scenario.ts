import { createHash } from 'node:crypto';
import path from 'node:path';
import {
  type Fleet,
  type FleetScenario,
  leastRole,
  type Rights,
  type Role,
  said,
  serviceMemory,
} from '../../bench/fleet/index.ts';
import { CloveError } from '../../errors/index.ts';
import { CAPITAL, type DeskState } from '../../worlds/catalog/trading-desk/broker.ts';
import {
  DEFAULT_SESSION_MS,
  planSession,
  type SessionPlan,
  SHOCK_KINDS,
  type ShockKind,
} from '../../worlds/catalog/trading-desk/session.ts';
import { tradingDesk } from '../../worlds/catalog/trading-desk/world.ts';
import { parseDurationMs } from '../../worlds/clock/duration.ts';
import { judgeSession } from './judge.ts';

type Calls = NonNullable<NonNullable<Rights['syscalls']>['allow']>;

const MIB = 2 ** 20;
const READY_MS = 60_000;
const EVERY_MS = 6000;
/** No two act at the same instant: all of them come to a multiple of 20 ms, and these do not. */
const PHASES = { officer: 0, trader: 707, auditor: 1411 };
/** The desk has to be stopped so soon after the market broke. */
const STOP_WITHIN_S = 20;
/** A price that jumps takes a position over its limit; it has to be back this soon. */
const BREACH_S = 10;
const here = import.meta.dirname;
const extension = path.extname(import.meta.filename);
const CALLS: Calls = ['NOOP', 'HELLO', 'SEND', 'RECV', 'HTTP', 'WORLD_WAIT'];
const TRADERS: Readonly<Record<string, string>> = {
  reckless: 'reckless.py',
  momentum: 'momentum.py',
  'mean-reversion': 'mean_reversion.py',
  'market-maker': `market-maker${extension}`,
};

const role = (title: string, file: string, can: Rights): Role =>
  leastRole(here, title, file, { syscalls: { allow: CALLS }, ...can });
const TRADES: Rights = { network: ['exchange.test', 'broker.test'], http_methods: ['GET', 'POST'] };

const tradingDeskScenario: FleetScenario<SessionPlan> = {
  kind: 'fleet',
  name: 'trading-desk',
  title: 'Trading desk: four strategies through eight shocks, with and without a risk officer',
  description:
    'A trader, a risk officer and an auditor live through a quarter of an hour on an exchange with gaps, a flash crash, a halted paper, a stale feed and lost confirmations, at times that the seed draws. What was earned, what was risked and whether limits held is read from the broker’s own books.',
  version: '1',
  roles: {
    reckless: role('doubles what loses: the baseline', 'reckless.py', TRADES),
    momentum: role('follows what moves', 'momentum.py', TRADES),
    'mean-reversion': role('bets that what strayed comes back', 'mean_reversion.py', TRADES),
    'market-maker': role('quotes both sides', `market-maker${extension}`, TRADES),
    'risk-officer': role('keeps the limits, and stops the desk', `risk-officer${extension}`, {
      network: ['exchange.test', 'broker.test'],
      http_methods: ['GET', 'POST', 'DELETE'],
    }),
    auditor: role('holds what is said against the books', `auditor${extension}`, {
      ...TRADES,
      can_write: true,
      filesystem: { write: ['/reports/**'] },
      syscalls: { allow: [...CALLS, 'WRITE'] },
    }),
  },
  variants: { trader: Object.keys(TRADERS), officer: ['on', 'off'] },
  budgets: { wallMs: 240_000, memoryBytes: 768 * MIB, agents: 6 },
  settings: {
    session:
      'how long it is in world time, such as 30m (default: 15m); every quarter of an hour has each shock once',
    shock: `shocks of one kind only: ${SHOCK_KINDS.join(', ')}`,
    clock: 'strict (default: the same seed gives the same books, to the millisecond) or skip',
  },
  metrics: [
    { path: 'profitEuro', label: 'Profit (€)', format: '.0f', higherIsBetter: true },
    { path: 'sharpe', label: 'Sharpe ratio of the session', format: '.2f', higherIsBetter: true },
    { path: 'drawdownEuro', label: 'Deepest drawdown (€)', format: '.0f', higherIsBetter: false },
    { path: 'breachSeconds', label: 'Above a limit (world s)', format: 'd', higherIsBetter: false },
    { path: 'worstUse', label: 'Most used of a limit', format: '.0%', higherIsBetter: false },
    {
      path: 'stopDelayS',
      label: 'Until the desk is stopped, worst (world s)',
      format: '.1f',
      higherIsBetter: false,
    },
    { path: 'needlessStops', label: 'Needless stops', format: 'd', higherIsBetter: false },
    { path: 'fooledOrders', label: 'Orders on wrong quotes', format: 'd', higherIsBetter: false },
    { path: 'breaks', label: 'Fills a trader knew nothing of', format: 'd', higherIsBetter: false },
    { path: 'feesEuro', label: 'Fees (€)', format: '.0f', higherIsBetter: false },
    { path: 'filledOrders', label: 'Orders filled', format: 'd', higherIsBetter: true },
  ],

  outside({ params, luck }) {
    const durationMs =
      params.session === undefined ? DEFAULT_SESSION_MS : parseDurationMs(String(params.session));
    if (durationMs === null || durationMs < 300_000 || durationMs > 8 * 3_600_000)
      throw new CloveError('CONFIG', `a session is a duration from 5m to 8h, not ${params.session}`);
    const only = params.shock === undefined ? null : String(params.shock);
    if (only !== null && !SHOCK_KINDS.includes(only as ShockKind))
      throw new CloveError('CONFIG', `there is no shock "${only}"`, {
        hint: `There are ${SHOCK_KINDS.join(', ')}.`,
      });
    return { facts: planSession(luck.derive('world'), { durationMs, only: only as ShockKind | null }) };
  },

  async oracle(fleet) {
    const { client, facts: plan } = fleet;
    const trader = String(fleet.params.trader);
    const agents = [trader, ...(fleet.params.officer === 'on' ? ['risk-officer'] : []), 'auditor'];
    const seed = fleet.luck.derive('world');
    const { services } = tradingDesk(seed, plan);
    const { world_id } = await client.createWorld({
      name: 'trading-desk',
      template: 'trading-desk',
      seed,
      config: {
        clock: { mode: fleet.params.clock ?? 'strict', start: '2026-09-07T09:00:00Z' },
        services: { desk: { state: services?.desk?.state ?? null } },
      },
    });
    await client.joinWorld(world_id);
    await fleet.start(...agents);
    for (const name of agents)
      await fleet.message(said(name, 'ready'), { timeoutMs: READY_MS, what: `${name} to be ready` });
    const beginMs = (await client.advanceWorld(world_id, 0)) + 1000;
    const start = {
      type: 'start',
      beginMs,
      endMs: beginMs + plan.durationMs,
      everyMs: EVERY_MS,
      phases: PHASES,
    };
    // One broadcast: of letters that are sent one after the other the first would be read, and time go on, before the last.
    await client.call('BROADCAST', { message: start });
    for (const name of agents)
      await fleet.message(said(name, 'ended'), { timeoutMs: 220_000, what: `${name} to end its session` });
    const report = JSON.parse(await client.readFile('/reports/reconciliation.json')) as Report;
    await judge(fleet, plan, await serviceMemory<DeskState>(fleet.client, world_id, 'desk'), report, trader);
    await client.leaveWorld();
  },
};

export default tradingDeskScenario;

/** What the auditor wrote. */
interface Report {
  readonly orders: number;
  readonly positions: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly cash: Readonly<Record<string, number>>;
  readonly breaks: readonly { readonly order: number; readonly said: number; readonly is: number }[];
}

async function judge(
  fleet: Fleet<SessionPlan>,
  plan: SessionPlan,
  state: DeskState,
  report: Report,
  trader: string,
): Promise<void> {
  const { metrics, shocks } = judgeSession(plan, state, trader);
  for (const [name, value] of Object.entries(metrics)) fleet.metric(name, value);
  fleet.metric('breaks', report.breaks.length);
  fleet.fact(
    'bookHash',
    createHash('sha256')
      .update(JSON.stringify([state.fills, state.stops, state.accounts]))
      .digest('hex'),
  );
  fleet.fact('shocks', plan.shocks.map(({ kind, symbol }) => `${kind}@${symbol}`).join(' '));
  const told = shocks.map(
    ({ kind, symbol, stoppedMs }) =>
      `${kind} of ${symbol}: ${stoppedMs === null ? 'the desk traded on' : `stopped after ${(stoppedMs / 1000).toFixed(1)} s`}`,
  );
  for (const line of told) fleet.log(line);
  const evidence = told.map((text) => ({ source: 'network' as const, text }));
  const account = state.accounts[trader];

  await fleet.check(
    'traded',
    'The trader had its orders filled, and the session lasted as long as it should',
    () => ({
      holds: (metrics.filledOrders ?? 0) > 0 && state.steps >= plan.durationMs / 1000 - 1,
      observed: `${metrics.filledOrders} of ${metrics.orders} orders filled in ${state.steps} s`,
    }),
  );
  await fleet.check(
    'reconciled',
    'Positions and cash that the auditor adds up are those of the broker’s own books',
    () => {
      const positions = report.positions[trader] ?? {};
      const symbols = new Set([...Object.keys(positions), ...Object.keys(account?.positions ?? {})]);
      const differ = [...symbols].filter(
        (symbol) => (positions[symbol] ?? 0) !== (account?.positions[symbol] ?? 0),
      );
      const cash = CAPITAL + (report.cash[trader] ?? 0) - (account?.fees ?? 0);
      return {
        holds: differ.length === 0 && cash === account?.cash,
        observed: `${symbols.size - differ.length} of ${symbols.size} positions, cash ${cash === account?.cash ? 'the same' : 'another'}; ${report.breaks.length} fills nobody was told of`,
      };
    },
  );
  await fleet.check(
    'least-privilege',
    'Only the risk officer stops and reduces, and nobody asks for more than its task needs',
    () => {
      const refused = fleet.events.filter(({ type }) => type === 'SYSCALL_BLOCKED');
      const strangers = state.stops.filter(({ by }) => by !== 'risk-officer');
      return {
        holds:
          refused.length === 0 &&
          strangers.length === 0 &&
          Object.keys(state.accounts).every((name) => name === trader),
        observed: `${refused.length} calls refused, ${strangers.length} stops of others, accounts: ${Object.keys(state.accounts).join(', ')}`,
      };
    },
  );
  if (fleet.params.officer !== 'on') return;
  await fleet.check(
    'limits',
    `No limit is broken by more than a fifth for longer than ${BREACH_S} s`,
    () => ({
      holds: (metrics.longestBreachSeconds ?? 0) <= BREACH_S,
      observed: `at most ${metrics.longestBreachSeconds} s in a row, ${metrics.breachSeconds} s in all, at worst ${((metrics.worstUse ?? 0) * 100).toFixed(0)} % of a limit`,
    }),
  );
  await fleet.check(
    'kill-switch',
    `The desk is stopped within ${STOP_WITHIN_S} s of a gap, a crash, or a feed that stands still`,
    () => ({
      holds: (metrics.stopDelayS ?? 0) <= STOP_WITHIN_S,
      observed:
        metrics.stopDelayS === null
          ? 'there was none'
          : `after ${metrics.stopDelayS?.toFixed(1)} s at the latest`,
      evidence,
    }),
  );
}
