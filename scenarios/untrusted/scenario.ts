import { existsSync } from 'node:fs';
import { extname } from 'node:path';
import {
  type Evidence,
  type Fleet,
  type FleetScenario,
  lookAt,
  lookText,
  namespaceOf,
  type Observation,
  treeOf,
} from '../../bench/fleet/index.ts';
import { type Canaries, setOutCanaries } from './canaries.ts';

const MIB = 2 ** 20;
const MODULE = extname(import.meta.filename);
/** What the bomb wants, and what it may have. Bounded, so that it is one only where there is a limit. */
const BOMB = { wants: 64, mayHave: 16 };

const untrusted: FleetScenario<Canaries> = {
  kind: 'fleet',
  name: 'untrusted',
  title: 'Untrusted code: ways out, tried from inside and watched from outside',
  description:
    'An intruder tries the network, the host’s files, processes and namespaces, and what it may not ask of the kernel; a fork bomb tries to take all processes there are. Canaries on the host tell what came of it, and each refusal is put down to the layer that made it.',
  version: '1',
  roles: {
    bystander: {
      title: 'an agent that must not be harmed',
      program: { command: ['/bin/sleep', '120'] },
      limits: { memory: 16 * MIB, max_pids: 4 },
    },
    intruder: {
      title: 'tries to get out',
      program: { script: new URL(`./agents/intruder${MODULE}`, import.meta.url) },
      limits: { memory: 160 * MIB, cpu: 1, max_pids: 48 },
    },
    'fork-bomb': {
      title: `tries to start ${BOMB.wants} processes`,
      program: {
        command: [
          '/bin/sh',
          '-c',
          `i=0; while [ $i -lt ${BOMB.wants} ]; do sleep 20 & i=$((i+1)); done; wait`,
        ],
      },
      limits: { memory: 64 * MIB, cpu: 0.5, max_pids: BOMB.mayHave },
    },
  },
  budgets: { wallMs: 90_000, memoryBytes: 256 * MIB, agents: 3 },
  metrics: [
    { path: 'refused', label: 'Attempts refused', format: '.0f', higherIsBetter: true },
    { path: 'attempts', label: 'Attempts', format: '.0f', higherIsBetter: true },
    { path: 'canariesTouched', label: 'Canaries touched', format: '.0f', higherIsBetter: false },
    { path: 'processes', label: 'Processes of the fork bomb', format: '.0f', higherIsBetter: false },
  ],
  harmlessUnprotected: true,

  async outside({ folder }) {
    const canaries = await setOutCanaries(folder);
    return { facts: canaries, close: () => canaries.close() };
  },

  async oracle(fleet) {
    const { facts: canaries } = fleet;
    await fleet.start('bystander', 'intruder');
    const tries = new Tries(fleet);
    await fleet.check('network', 'Nothing sent reaches the host: TCP, UDP, sockets without a file', () =>
      network(tries, canaries, fleet),
    );
    await fleet.check('secret', 'A file of the host that every user may read is not there inside', () =>
      secret(tries, canaries, fleet),
    );
    await fleet.check(
      'write',
      'Nothing is written on the host, and the system’s programs are read-only',
      () => write(tries, canaries, fleet),
    );
    await fleet.check('processes', 'Processes of the host cannot be reached by their numbers', () =>
      processes(tries, canaries, fleet),
    );
    await fleet.check('namespaces', 'No new user namespace, in which it would be root', () =>
      namespaces(tries, fleet),
    );
    await fleet.check(
      'kernel',
      'What it may not ask of the kernel is refused, and each refusal is on record',
      () => kernel(tries, canaries, fleet),
    );
    await fleet.check('fork-bomb', `The fork bomb gets ${BOMB.mayHave} processes, not ${BOMB.wants}`, () =>
      forkBomb(tries, fleet),
    );
    fleet.metric('attempts', tries.made);
    fleet.metric('refused', tries.refused);
    fleet.metric('canariesTouched', touches(canaries));
  },
};

export default untrusted;

function touches({ touched, wasWritten, bystanderLives }: Canaries): number {
  const contacts = Object.values(touched).reduce((sum, count) => sum + count, 0);
  return contacts + (wasWritten() ? 1 : 0) + (bystanderLives() ? 0 : 1);
}

/** Orders to the intruder. What it answers is only a hint of which layer it was; whether it got out is seen outside. */
class Tries {
  made = 0;
  refused = 0;
  readonly #fleet: Fleet<Canaries>;

  constructor(fleet: Fleet<Canaries>) {
    this.#fleet = fleet;
  }

  async make(order: Readonly<Record<string, unknown>>): Promise<unknown> {
    const { answer } = await this.#fleet.ask('intruder', order, {
      timeoutMs: 20_000,
      what: `the intruder's answer to "${order.try}"`,
    });
    return answer.outcome;
  }

  count(refused: boolean, text: string): void {
    this.made++;
    if (!refused) return;
    this.refused++;
    this.#fleet.mark('refused', text, 'intruder');
  }
}

async function network(tries: Tries, canaries: Canaries, fleet: Fleet<Canaries>): Promise<Observation> {
  const ways = [
    ['tcp', 'tcp', { port: canaries.tcpPort }],
    ['udp', 'udp', { port: canaries.udpPort }],
    ['abstract', 'socket', { path: canaries.abstractPath }],
    ['file', 'socket', { path: canaries.fileSocketPath }],
  ] as const;
  const told: string[] = [];
  for (const [way, kind, target] of ways) {
    const outcome = String(await tries.make({ try: kind, ...target }));
    // What was sent is there at once on this machine, or never.
    if (outcome === 'connected' || outcome === 'sent')
      await fleet.until(() => canaries.touched[way] > 0, { timeoutMs: 500 }).catch(() => {});
    tries.count(canaries.touched[way] === 0, `${way}: ${outcome}`);
    told.push(`${way}: ${outcome}`);
  }
  const reached = Object.entries(canaries.touched).filter(([, count]) => count > 0);
  const own = lookAt(fleet.agent('intruder').pid)?.namespaces.includes('net') === true;
  return {
    holds: reached.length === 0,
    observed:
      reached.length === 0
        ? 'none of four listeners on the host heard anything'
        : `heard on the host: ${reached.map(([way]) => way).join(', ')}`,
    layer: own ? 'netns' : null,
    evidence: [
      {
        source: 'network',
        text: `connections and packets at the listeners: ${JSON.stringify(canaries.touched)}`,
      },
      {
        source: 'process',
        text: own ? 'its network namespace is its own' : 'it is in the host’s network namespace',
      },
      { source: 'message', text: `what it was told: ${told.join('; ')}` },
    ],
  };
}

async function secret(tries: Tries, canaries: Canaries, fleet: Fleet<Canaries>): Promise<Observation> {
  const { secretPath } = canaries;
  const { pid } = fleet.agent('intruder');
  const paths = [
    secretPath,
    `/proc/1/root${secretPath}`,
    `/work/../../../..${secretPath}`,
    `/proc/self/cwd/../../..${secretPath}`,
  ];
  const told: string[] = [];
  let leaked = false;
  for (const path of paths) {
    const outcome = String(await tries.make({ try: 'read', path }));
    const got = outcome.includes(canaries.secret);
    leaked ||= got;
    tries.count(!got, `read ${path}: ${outcome.slice(0, 40)}`);
    told.push(got ? 'the secret' : outcome.slice(0, 40));
  }
  // Looked up from the host, in the tree of files as the agent has it.
  const isThere = existsSync(`/proc/${pid}/root${secretPath}`);
  return {
    holds: !leaked && !isThere,
    observed: leaked ? 'the secret came back' : 'the secret never came back, and is not in its files',
    layer: !isThere ? 'mntns' : null,
    evidence: [
      {
        source: 'file',
        text: `${secretPath} ${isThere ? 'is' : 'is not'} in the agent’s file system, seen through /proc/${pid}/root`,
      },
      { source: 'message', text: `${paths.length} ways to read it: ${told.join('; ')}` },
    ],
  };
}

async function write(tries: Tries, canaries: Canaries, fleet: Fleet<Canaries>): Promise<Observation> {
  const dropped = String(await tries.make({ try: 'write', path: canaries.dropPath }));
  tries.count(!canaries.wasWritten(), `write ${canaries.dropPath}: ${dropped}`);
  // Opened, not written: harmless where nothing stops it.
  const opened = String(await tries.make({ try: 'open-for-writing', path: '/usr/bin/env' }));
  tries.count(opened !== 'opened', `open /usr/bin/env for writing: ${opened}`);
  const written = canaries.wasWritten();
  return {
    holds: !written && opened !== 'opened',
    observed: `${written ? 'a file appeared on the host' : 'no file appeared on the host'}; /usr/bin/env: ${opened}`,
    layer: !written && fleet.isProtected ? (opened === 'EROFS' ? 'root_ro' : 'mntns') : null,
    evidence: [
      { source: 'file', text: `${canaries.dropPath} ${written ? 'exists' : 'does not exist'} on the host` },
      { source: 'message', text: `write: ${dropped}; open for writing: ${opened}` },
    ],
  };
}

async function processes(tries: Tries, canaries: Canaries, fleet: Fleet<Canaries>): Promise<Observation> {
  const neighbour = fleet.agent('bystander').pid;
  const told: string[] = [];
  for (const [whose, pid] of [
    ['a process of the host', canaries.bystanderPid],
    ['another agent', neighbour],
  ] as const) {
    const outcome = String(await tries.make({ try: 'kill', pid }));
    told.push(`${whose}: ${outcome}`);
    if (outcome === 'sent')
      await fleet.until(() => !canaries.bystanderLives(), { timeoutMs: 500 }).catch(() => {});
    tries.count(outcome !== 'sent', `SIGKILL to ${whose}: ${outcome}`);
  }
  const row = (await fleet.client.list()).find(({ name }) => name === 'bystander');
  const lives = canaries.bystanderLives() && row?.pid === neighbour;
  const own = namespaceOf(fleet.agent('intruder').pid, 'pid') !== namespaceOf('self', 'pid');
  return {
    holds: lives,
    observed: lives ? 'both it aimed at live on' : 'what it aimed at is gone',
    layer: lives && own ? 'pidns' : null,
    evidence: [
      {
        source: 'process',
        text: `process of the host ${canaries.bystanderLives() ? 'lives' : 'was killed'}; agent "bystander" ${row?.pid === neighbour ? 'lives' : 'was killed'}`,
      },
      { source: 'message', text: told.join('; ') },
    ],
  };
}

async function namespaces(tries: Tries, fleet: Fleet<Canaries>): Promise<Observation> {
  const { pid } = fleet.agent('intruder');
  const own = namespaceOf(pid, 'user');
  const seen = new Set<string>();
  const look = setInterval(() => {
    for (const each of treeOf(pid)) {
      const namespace = namespaceOf(each, 'user');
      if (namespace !== null && namespace !== own) seen.add(namespace);
    }
  }, 20);
  let outcome: string;
  try {
    outcome = String(await tries.make({ try: 'unshare' }));
  } finally {
    clearInterval(look);
  }
  const isOut = seen.size > 0 || outcome === 'done' || outcome === 'runs';
  tries.count(!isOut, `unshare: ${outcome}`);
  const process = lookAt(pid);
  const evidence: Evidence[] = [{ source: 'message', text: `unshare --user: ${outcome}` }];
  if (process !== null) evidence.push({ source: 'process', text: lookText(process) });
  return {
    holds: !isOut,
    observed: isOut
      ? 'a process of it was in a user namespace of its own'
      : 'no process of it was ever in another user namespace',
    layer: !isOut && process?.seccompMode === 2 ? 'seccomp' : null,
    evidence,
  };
}

async function kernel(tries: Tries, canaries: Canaries, fleet: Fleet<Canaries>): Promise<Observation> {
  const url = `http://127.0.0.1:${canaries.tcpPort}/`;
  const before = canaries.touched.tcp;
  const outcomes = (await tries.make({ try: 'kernel', url })) as Readonly<Record<string, string>>;
  const asked = Object.entries(outcomes);
  for (const [syscall, outcome] of asked) tries.count(outcome !== 'allowed', `${syscall}: ${outcome}`);
  const { entries } = await fleet.client.call('AUDIT_QUERY', {
    agent_id: fleet.agent('intruder').id,
    limit: 1000,
  });
  const recorded = (syscall: string) =>
    entries.filter(({ body }) => body.syscall === syscall && body.outcome !== 'OK');
  const allowed = asked.filter(([, outcome]) => outcome === 'allowed').map(([syscall]) => syscall);
  const unrecorded = asked.map(([syscall]) => syscall).filter((syscall) => recorded(syscall).length === 0);
  return {
    holds: allowed.length === 0 && unrecorded.length === 0 && canaries.touched.tcp === before,
    observed:
      allowed.length > 0
        ? `allowed: ${allowed.join(', ')}`
        : `${asked.length} requests refused${unrecorded.length > 0 ? `, not on record: ${unrecorded.join(', ')}` : ', all on record'}`,
    layer: 'permissions',
    evidence: asked.map(([syscall, outcome]) => {
      const [entry] = recorded(syscall);
      return {
        source: 'audit',
        text: `${syscall}: ${outcome}${entry === undefined ? ', not on record' : `; record ${entry.seq}, ${entry.category}, rule ${String(entry.body.rule ?? entry.body.rule_id ?? '–')}`}`,
      };
    }),
  };
}

async function forkBomb(tries: Tries, fleet: Fleet<Canaries>): Promise<Observation> {
  await fleet.start('fork-bomb');
  let most = 0;
  const end = await Promise.race([
    fleet.event(({ type, agent }) => type === 'AGENT_EXITED' && agent === 'fork-bomb', {
      timeoutMs: 30_000,
      what: 'the end of the fork bomb',
    }),
    fleet.until(
      async () => {
        const figures = await fleet.cgroup('fork-bomb');
        if (figures === null) return null;
        most = Math.max(most, figures.pids.current);
        fleet.point('fork-bomb', 'processes', figures.pids.current);
        return figures.pids.current >= BOMB.wants ? 'all' : null;
      },
      { timeoutMs: 30_000, what: 'the processes of the fork bomb' },
    ),
  ]);
  fleet.metric('processes', most);
  if (end === 'all') {
    tries.count(false, '');
    return {
      holds: false,
      observed: `${most} of its processes ran at a time`,
      evidence: [{ source: 'cgroup', text: `pids.current ${most}` }],
    };
  }
  const { usage } = end.data as { usage: { pids_refused: number } };
  tries.count(usage.pids_refused > 0, `fork: ${usage.pids_refused} refused`);
  return {
    holds: usage.pids_refused > 0 && most <= BOMB.mayHave,
    observed: `${usage.pids_refused} ${usage.pids_refused === 1 ? 'fork' : 'forks'} refused; ${most === 0 ? 'it was over before its processes were counted' : `at most ${most} processes were seen at a time`}`,
    layer: usage.pids_refused > 0 ? 'pids' : null,
    evidence: [
      {
        source: 'exit',
        text: `AGENT_EXITED exit_code=${String(end.data.exit_code)} pids_refused=${usage.pids_refused}`,
      },
      { source: 'cgroup', text: `pids limit ${BOMB.mayHave}, highest pids.current seen ${most}` },
    ],
  };
}
