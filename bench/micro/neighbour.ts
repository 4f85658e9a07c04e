/**
 * A sentinel that calls the kernel without pause next to a neighbour that misbehaves, each in a sandbox of its own. Shared by
 * the tests, which assert what must hold, and by bench/micro/hostile.ts, which measures.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { CloveClient } from '../../sdk/typescript/index.ts';

/** What the sentinel measured between two looks. */
export interface Latencies {
  readonly count: number;
  readonly failures: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface Sample extends Latencies {
  /** Of each call, in µs, in order of length. */
  readonly timesUs: readonly number[];
}

/** Source of the sentinel: every call is awaited, timed and checked; a message asks for the figures so far and starts anew. */
const SENTINEL = `
import { connect } from 'clove/sdk';
const clove = await connect();
const asking = clove.clone();
let times = [];
let failures = 0;
let number = 0;
(async () => {
  for await (const { from, message } of asking.messages()) {
    const sorted = times.sort((a, b) => a - b);
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
    const report = { count: sorted.length, failures, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: sorted.at(-1) ?? 0 };
    if (message.wantsTimes) report.timesUs = sorted.map((ms) => Math.round(ms * 1000));
    times = [];
    failures = 0;
    await asking.send(from, report);
  }
})();
await clove.notify({ ready: true });
for (;;) {
  number += 1;
  const startedMs = performance.now();
  try {
    if (number % 8 === 0) {
      await clove.store('sentinel', number, { scope: 'session' });
      if ((await clove.fetch('sentinel', { scope: 'session' })) !== number) failures += 1;
    } else if ((await clove.echo('n' + number)) !== 'n' + number) failures += 1;
  } catch {
    failures += 1;
  }
  times.push(performance.now() - startedMs);
  await new Promise((resolve) => setTimeout(resolve, 2));
}
`;

export async function startSentinel(client: CloveClient): Promise<number> {
  const { id } = await client.spawn({
    name: 'sentinel',
    command: ['node', '--input-type=module', '-e', SENTINEL],
    ready: { on: 'notify' },
    limits: { memory_mb: 256, cpu: 1 },
  });
  await client.waitReady(id, { timeoutMs: null });
  return id;
}

/** The sentinel's figures since the last time. */
export async function latenciesOf(client: CloveClient): Promise<Latencies> {
  return (await report(client, false)) as Latencies;
}

/** With the time of each call: for phases of seconds, as all of it is one message. */
export async function sampleOf(client: CloveClient): Promise<Sample> {
  return (await report(client, true)) as Sample;
}

async function report(client: CloveClient, wantsTimes: boolean): Promise<unknown> {
  await client.send('sentinel', { wantsTimes });
  const [answer] = await client.receive({ wait: true, max: 1, timeoutMs: 60_000 });
  if (answer === undefined) throw new Error('the sentinel does not answer');
  return answer.message;
}

/** One sample of several: what quantiles are taken of. */
export function pooled(samples: readonly Sample[]): Sample {
  const timesUs = samples.flatMap((sample) => sample.timesUs).sort((a, b) => a - b);
  const atMs = (share: number) =>
    (timesUs[Math.min(timesUs.length - 1, Math.floor(timesUs.length * share))] ?? 0) / 1000;
  const failures = samples.reduce((sum, sample) => sum + sample.failures, 0);
  const count = timesUs.length;
  return { count, failures, p50Ms: atMs(0.5), p99Ms: atMs(0.99), maxMs: atMs(1), timesUs };
}

export interface Attack {
  readonly name: string;
  /** SPAWN request; the program does not end by itself. */
  readonly request: Readonly<Record<string, unknown>>;
  /** What the offender must be told about; null = nothing is exceeded, it is only slowed down. */
  readonly resource: string | null;
}

/**
 * An attack tells once, on stderr, the CLOCK_MONOTONIC time in ns right before the step that first met the limit:
 * `met(before)`. It is the clock of process.hrtime, too.
 */
const MET = `
import sys, time
now = time.monotonic_ns
is_met = False
def met(before):
    global is_met
    if not is_met: is_met = True; sys.stderr.write(f'met {before}\\n'); sys.stderr.flush()
`;
const python = (source: string) => ({ command: ['/usr/bin/python3', '-c', MET + source] });
const LOG_BYTES = 64 * 1024;
/** As many as an agent may have (kernel/agents/launcher.ts). */
const CONNECTIONS = 16;
const node = (source: string) => ({ command: ['node', '--input-type=module', '-e', source] });
const SMALL = {
  memory_mb: 64,
  cpu: 0.5,
  max_pids: 32,
  tmpfs: 8 * 2 ** 20,
  tmpfs_inodes: 256,
  open_files: 64,
};

/** Each inside a sandbox, under small limits. */
export const ATTACKS: readonly Attack[] = [
  {
    name: 'fork bomb',
    request: {
      ...python(`
import os
while True:
    before = now()
    try:
        os.fork()
    except OSError:
        met(before); time.sleep(0.01)`),
      limits: SMALL,
    },
    resource: 'pids',
  },
  {
    name: 'memory hog',
    request: {
      ...python(`
import os
held = []
while True:
    held.append(bytearray(os.urandom(1 << 20)))`),
      limits: SMALL,
      restart_policy: 'always',
      max_restarts: 1000,
      restart_backoff_max_ms: 200,
      persist: false,
    },
    resource: 'memory',
  },
  {
    name: 'tmpfs fill',
    request: {
      ...python(`
while True:
    try:
        with open('/tmp/full', 'ab') as file:
            while True: before = now(); file.write(b'x' * 65536); file.flush()
    except OSError:
        met(before); time.sleep(0.01)`),
      limits: SMALL,
    },
    resource: 'tmpfs',
  },
  {
    name: 'inode fill',
    request: {
      ...python(`
n = 0
while True:
    before = now()
    try:
        open(f'/tmp/f{n}', 'w').close(); n += 1
    except OSError:
        met(before); time.sleep(0.01)`),
      limits: SMALL,
    },
    resource: 'inodes',
  },
  {
    name: 'log flood',
    request: {
      ...python(`
import os
block = b'a line of a log that never ends\\n' * 2048
written = 0
while True:
    before = now()
    written += os.write(1, block)
    if written > ${LOG_BYTES}: met(before)`),
      limits: SMALL,
      log_bytes: LOG_BYTES,
    },
    resource: 'log',
  },
  {
    name: 'socket flood',
    request: {
      ...python(`
import os, socket
held = []
while True:
    before = now()
    try:
        s = socket.socket(socket.AF_UNIX); s.setblocking(False); s.connect(os.environ['CLOVE_SOCKET']); held.append(s)
        if len(held) == ${CONNECTIONS}: met(before)
    except OSError:
        held = held[-8:]; time.sleep(0.005)`),
      limits: SMALL,
    },
    resource: 'connections',
  },
  {
    name: 'syscall flood',
    request: {
      ...node(`
import net from 'node:net';
const frame = (opcode, body) => { const f = Buffer.alloc(17 + body.length); f.writeUInt32LE(0x41474e54, 0); f[8] = opcode; f.writeUInt32LE(body.length, 9); body.copy(f, 17); return f; };
let isMet = false;
const refused = (bytes) => { if (isMet || !bytes.includes('OVERLOAD')) return; isMet = true; process.stderr.write('met ' + process.hrtime.bigint() + '\\n'); };
const batch = Buffer.concat(Array.from({ length: 256 }, () => frame(0x31, Buffer.from('{"key":"k"}'))));
for (let n = 0; n < 4; n += 1) {
  const socket = net.connect(process.env.CLOVE_SOCKET);
  const write = () => { while (socket.write(batch)); };
  socket.on('drain', write); socket.on('connect', write); socket.on('data', refused); socket.on('error', () => {});
}`),
      limits: { ...SMALL, memory_mb: 256 },
    },
    resource: 'syscalls',
  },
  {
    name: 'descriptor exhaustion',
    request: {
      ...python(`
import os
held = []
while True:
    before = now()
    try:
        held.append(os.open('/dev/null', os.O_RDONLY))
    except OSError:
        met(before); time.sleep(0.01)`),
      limits: SMALL,
    },
    resource: 'fds',
  },
  {
    name: 'signal storm',
    request: {
      ...python(`
import os, signal
for each in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP): signal.signal(each, signal.SIG_IGN)
while True:
    for each in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        try:
            os.kill(-1, each)
        except OSError:
            pass`),
      limits: SMALL,
    },
    resource: null,
  },
];

/** Cgroups of a boot: those of agents that run, and of sandboxes that are kept ready. */
export function leftovers(bootId: string): string[] {
  const groups = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(' ')[4] ?? '');
  return groups.flatMap((mount) => {
    const parent = `${mount}/clove/${bootId}`;
    try {
      return readdirSync(parent, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => `${parent}/${entry.name}`);
    } catch {
      return [];
    }
  });
}
