// Attacks from inside, looked at from outside: escapes, leaks, exhaustion, interference that no other test of the sandbox tries.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import {
  cleanUp,
  type Outcome,
  processesOfTestUser,
  runToEnd,
  type SpecChanges,
  startReady,
  TEST_UID,
} from './sandbox-testing.ts';

afterAll(cleanUp);

const hasPython = process.geteuid?.() === 0 && spawnSync('/usr/bin/python3', ['-c', '']).status === 0;

/** Nothing of it happens where the mount namespace is that of the host. */
const GUARD = `
import ctypes, errno, json, mmap, os, signal, socket, struct, sys, time
if os.readlink('/proc/self/ns/mnt') == ${JSON.stringify(readlinkSync('/proc/self/ns/mnt'))}: sys.exit('this is the host')
libc = ctypes.CDLL(None, use_errno=True)
def call(function, *arguments):
    ctypes.set_errno(0)
    return errno.errorcode.get(ctypes.get_errno(), 'done') if function(*arguments) == -1 else 'done'
def attempt(work):
    try:
        work()
        return 'done'
    except OSError as e:
        return errno.errorcode[e.errno]
`;

const python = (source: string, changes: SpecChanges = {}): Promise<Outcome> =>
  runToEnd(['/usr/bin/python3', '-I', '-c', GUARD + source], changes);

/** Runs an attack that prints what became of it, as JSON. */
// biome-ignore lint/suspicious/noExplicitAny: asserted on, field by field
async function told(source: string, changes: SpecChanges = {}): Promise<any> {
  const { stdout, stderr } = await python(source, changes);
  try {
    return JSON.parse(stdout);
  } catch {
    throw new Error(`the attack said ${stdout} ${stderr}`);
  }
}

describe.skipIf(!hasPython)('escapes', () => {
  it('mount no cgroups, whose release_agent would run on the host', async () => {
    const agents = () =>
      readdirSync('/sys/fs/cgroup')
        .map((name) => `/sys/fs/cgroup/${name}/release_agent`)
        .filter((file) => existsSync(file))
        .map((file) => readFileSync(file, 'utf8'));
    const before = agents();
    const answer = await told(`
os.mkdir('/tmp/c')
mounts = [call(libc.mount, b'c', b'/tmp/c', kind, 0, name) for kind, name in
          [(b'cgroup2', b'')] + [(b'cgroup', n) for n in (b'memory', b'cpu', b'pids', b'devices', b'freezer', b'rdma', b'none,name=x')]]
nested = call(libc.unshare, 0x10000000 | 0x02000000)
write = attempt(lambda: open('/sys/fs/cgroup/memory/release_agent', 'w'))
print(json.dumps([mounts, nested, write]))`);
    expect(answer).toEqual([Array.from({ length: 8 }, () => 'EPERM'), 'EPERM', 'ENOENT']);
    expect(agents()).toEqual(before);
  });

  it('change no clock', async () => {
    const answer = await told(`
now = struct.pack('qq', 1, 0)
print(json.dumps([call(libc.clock_settime, 0, now), call(libc.settimeofday, now, None), call(libc.adjtimex, struct.pack('I', 1) + bytes(300)),
  attempt(lambda: os.write(os.open('/proc/self/timens_offsets', os.O_WRONLY), b'monotonic 1 0'))]))`);
    expect(answer.slice(0, 3)).toEqual(['EPERM', 'EPERM', 'EPERM']);
    expect(['EPERM', 'EACCES', 'EROFS', 'ENOENT']).toContain(answer[3]);
  });

  it('reach no daemon of the host, by path or by abstract name', async () => {
    const names = readFileSync('/proc/net/unix', 'utf8')
      .split('\n')
      .map((line) => /@(\S+)$/.exec(line)?.[1] ?? '')
      .filter((name) => name !== '')
      .slice(0, 200);
    const answer = await told(`
def reach(address):
    with socket.socket(socket.AF_UNIX) as s: return attempt(lambda: s.connect(address))
paths = ['/run/docker.sock', '/var/run/docker.sock', '/run/containerd/containerd.sock', '/run/dbus/system_bus_socket', '/run/systemd/notify',
         '/run/systemd/private', '/dev/log', '/tmp/clove.sock', '/run/clove.sock']
print(json.dumps(sorted({reach(p) for p in paths} | {reach('\\0' + n) for n in ${JSON.stringify(names)}})))`);
    for (const outcome of answer) expect(['ENOENT', 'ECONNREFUSED', 'EPERM']).toContain(outcome);
  });

  it('use no key of their user', async () => {
    // A user that has no other process anywhere: its keyring holds what is put there outside of the sandbox.
    const uid = TEST_UID + 4_000_000;
    const holder: ChildProcess = spawn('/usr/bin/python3', [
      '-I',
      '-c',
      `import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
os.setgid(${uid}); os.setuid(${uid})
print(libc.syscall(248, b'user', b'clove-secret', b'kept', 4, ctypes.c_long(-4)), flush=True)
sys.stdin.read()`,
    ]);
    const closed = new Promise((resolve) => holder.once('exit', resolve));
    try {
      const key = await new Promise<string>((resolve) =>
        holder.stdout?.once('data', (part) => resolve(String(part).trim())),
      );
      expect(Number(key)).toBeGreaterThan(0);
      const answer = await told(
        `
print(json.dumps([call(libc.syscall, 248, b'user', b'mine', b'x', 1, ctypes.c_long(-4)), call(libc.syscall, 249, b'user', b'clove-secret', None, ctypes.c_long(-4)),
  call(libc.syscall, 250, 11, ${key}, None, 0), attempt(lambda: open('/proc/keys').read(1) and None)]))`,
        { uid, gid: uid },
      );
      expect(answer.slice(0, 3)).toEqual(['EPERM', 'EPERM', 'EPERM']);
      expect(readFileSync('/proc/keys', 'utf8')).not.toBe('');
    } finally {
      holder.stdin?.end();
      await closed;
    }
  });
});

describe.skipIf(!hasPython)('leaks', () => {
  it('find nothing of the kernel’s memory in their own', async () => {
    const halves = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')] as const;
    const held = Buffer.from(halves.join(''));
    const reversed = (text: string) => [...text].reverse().join('');
    // The two halves are never side by side in the agent's memory by its own doing.
    const answer = await told(
      `
first, second = (os.environ[name][::-1].encode() for name in ('FIRST', 'SECOND'))
found, alone, scanned = 0, 0, 0
with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb', 0) as memory:
    for line in maps:
        place, rights = line.split()[:2]
        if 'r' not in rights or '[v' in line: continue
        start, end = (int(x, 16) for x in place.split('-'))
        try:
            memory.seek(start); content = memory.read(end - start)
        except (OSError, OverflowError, ValueError): continue
        scanned += len(content)
        at = content.find(first)
        while at >= 0:
            alone += 1
            found += content[at + len(first):at + 2 * len(first)] == second
            at = content.find(first, at + 1)
print(json.dumps([found, alone > 0, scanned > 1000000]))`,
      { env: { PATH: '/usr/bin:/bin', FIRST: reversed(halves[0]), SECOND: reversed(halves[1]) } },
    );
    expect(answer).toEqual([0, true, true]);
    expect(held.toString()).toBe(halves.join(''));
  });

  it('get no name and no packet out', async () => {
    const answer = await told(`
out = []
for family, address in ((socket.AF_INET, '192.0.2.1'), (socket.AF_INET6, '2001:db8::1')):
    with socket.socket(family, socket.SOCK_DGRAM) as s: out.append(attempt(lambda: s.sendto(b'x', (address, 53))))
try: socket.getaddrinfo('secret.x.test', 80); out.append('resolved')
except socket.gaierror: out.append('unknown')
print(json.dumps(out))`);
    expect(answer).toEqual(['ENETUNREACH', 'ENETUNREACH', 'unknown']);
  });
});

describe.skipIf(!hasPython)('exhaustion', () => {
  it('of threads ends at the number of processes', async () => {
    const answer = await told(`
import threading
stop, count = threading.Event(), 0
try:
    for _ in range(500):
        threading.Thread(target=stop.wait, daemon=True).start(); count += 1
    refused = False
except RuntimeError: refused = True
stop.set()
print(json.dumps([count, refused]))`);
    expect(answer[1]).toBe(true);
    expect(answer[0]).toBeLessThan(64);
  });

  it.each([
    [
      'memory files',
      `fd = os.memfd_create('m')
while True: os.write(fd, bytes(1 << 20))`,
    ],
    [
      'pages that are shared',
      `held = []
while True:
    m = mmap.mmap(-1, 1 << 20); m.write(bytes(1 << 20)); held.append(m)`,
    ],
  ])('by %s is charged to the agent, which ends', async (_, source) => {
    const outcome = await python(source, { limits: { memoryBytes: 32 << 20, fileSizeBytes: null } });
    expect(outcome.reason).toBe('oom');
    expect(outcome.memoryPeakBytes).toBeLessThanOrEqual(32 << 20);
  });

  it('by pipes, socket buffers, watches, queues and timers ends at a limit, and the agent’s memory stays within its own', async () => {
    const outcome = await python(
      `
def fill(make):
    held = []
    try:
        for _ in range(3000): held.append(make())
    except (OSError, MemoryError): pass
    for one in held:
        for fd in (one if isinstance(one, tuple) else (one,)):
            if isinstance(fd, int): os.close(fd)
    return len(held)
import fcntl
def pipe():
    r, w = os.pipe()
    try: fcntl.fcntl(w, 1031, 1 << 20)
    except OSError: pass
    os.set_blocking(w, False)
    try:
        while True: os.write(w, bytes(65536))
    except OSError: pass
    return (r, w)
def pair():
    a, b = socket.socketpair(); a.setblocking(False)
    try:
        while True: a.send(bytes(65536))
    except OSError: pass
    return (a.detach(), b.detach())
def watch():
    fd = libc.inotify_init()
    if fd < 0: raise OSError(ctypes.get_errno(), 'inotify')
    return fd
print(json.dumps([fill(pipe), fill(pair), fill(watch)]), flush=True)`,
      { limits: { memoryBytes: 64 << 20 } },
    );
    expect(['exited', 'oom']).toContain(outcome.reason);
    expect(outcome.memoryPeakBytes).toBeLessThanOrEqual(64 << 20);
    // 256 descriptors: where memory was enough, that was the end.
    if (outcome.reason === 'exited')
      for (const count of JSON.parse(outcome.stdout) as number[]) expect(count).toBeLessThan(256);
  });

  it('of the page cache is no reason to end: it is taken back', async () => {
    const outcome = await python(
      `
total = 0
for folder, _, files in os.walk('/usr/lib'):
    for name in files:
        path = os.path.join(folder, name)
        try:
            if not os.path.islink(path):
                with open(path, 'rb') as file: total += len(file.read(4 << 20))
        except OSError: pass
    if total > 96 << 20: break
print(total)`,
      { limits: { memoryBytes: 32 << 20 } },
    );
    expect(outcome).toMatchObject({ reason: 'exited', exitCode: 0 });
    expect(outcome.memoryPeakBytes).toBeLessThanOrEqual(32 << 20);
  });

  it('of disks by holes is refused at the size of a file', async () => {
    const answer = await told(`
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
fd = os.open('/work/hole', os.O_CREAT | os.O_RDWR)
print(json.dumps([attempt(lambda: os.ftruncate(fd, 1 << 60)), attempt(lambda: os.posix_fallocate(fd, 0, 1 << 40)), attempt(lambda: os.pwrite(fd, b'x', 1 << 50))]))`);
    for (const outcome of answer) expect(['EFBIG', 'ENOSPC']).toContain(outcome);
  });

  it('does not outlive a kill: deaf, stopped, in vfork, in sessions of their own', async () => {
    const sandbox = await startReady([
      '/usr/bin/python3',
      '-I',
      '-c',
      `${GUARD}
for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(each, signal.SIG_IGN)
for kind in ('stopped', 'session', 'vfork'):
    if os.fork() == 0:
        if kind == 'stopped': os.kill(os.getpid(), signal.SIGSTOP)
        if kind == 'session': os.setsid()
        if kind == 'vfork' and libc.vfork() == 0: libc.pause()
        time.sleep(600)
print('ready', flush=True)
time.sleep(600)`,
    ]);
    expect(processesOfTestUser().length).toBeGreaterThan(1);
    sandbox.kill();
    expect(await sandbox.exited).toMatchObject({ reason: 'killed' });
    expect(processesOfTestUser()).toEqual([]);
  });
});

describe.skipIf(!hasPython)('interference', () => {
  it('with another agent’s processes is not possible, whatever their numbers', async () => {
    const victim = await startReady(['/bin/sh', '-c', 'echo ready; exec sleep 600']);
    try {
      const pids = victim.stats().processIds;
      expect(pids.length).toBeGreaterThan(0);
      const answer = await told(
        `
out = set()
for pid in ${JSON.stringify(pids)}:
    out.add(attempt(lambda: os.kill(pid, 9)))
    out.add(call(libc.syscall, 434, pid, 0))
    out.add(call(libc.syscall, 101, 16, pid, 0, 0))
    out.add(call(libc.syscall, 310, pid, None, 0, None, 0, 0))
    out.add(call(libc.syscall, 302, pid, 7, None, bytes(16)))
    out.add(attempt(lambda: open(f'/proc/{pid}/mem').read(1) and None))
print(json.dumps(sorted(out)))`,
      );
      // Small numbers of the host may be numbers of its own too: not those of a sandbox that is younger than this test.
      for (const outcome of answer) expect(['EPERM', 'ESRCH', 'ENOENT', 'EACCES']).toContain(outcome);
      expect(victim.stats().processIds).toEqual(pids);
    } finally {
      victim.kill();
      await victim.exited;
    }
  });

  it('by names is not possible: the same file, port, abstract name, segment and queue belong to each', async () => {
    const source = `
open('/tmp/same', 'x').close(); open('/dev/shm/same', 'x').close(); open('/work/same', 'x').close()
tcp = socket.socket(); tcp.bind(('127.0.0.1', 5000)); tcp.listen()
unix = socket.socket(socket.AF_UNIX); unix.bind('\\0same'); unix.listen()
segment = libc.shmget(4711, 4096, 0o3600)
queue = libc.msgget(4711, 0o3600)
print(json.dumps([segment >= 0, queue >= 0, 'ready']), flush=True)
`;
    const first = await startReady(['/usr/bin/python3', '-I', '-c', `${GUARD}${source}time.sleep(600)`]);
    try {
      expect(await told(source)).toEqual([true, true, 'ready']);
    } finally {
      first.kill();
      await first.exited;
    }
    // And whoever comes after, under the same user, finds none of it.
    const left = await told(`
print(json.dumps([os.listdir('/tmp'), os.listdir('/dev/shm'), os.listdir('/work'), call(libc.shmget, 4711, 4096, 0), call(libc.msgget, 4711, 0)]))`);
    expect(left).toEqual([[], [], [], 'ENOENT', 'ENOENT']);
  });
});
