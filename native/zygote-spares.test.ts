// Agents that are born before anybody has asked for them, and what a template that is somebody else's could do to one.
import { closeSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { endSpares, ZYGOTE_READY } from './index.ts';
import { cleanUp, leftoverGroups, noGroupsLeft, readAll } from './sandbox-testing.ts';
import {
  closeTemplate,
  endTemplates,
  prepareTemplates,
  run,
  script,
  start,
  startTemplate,
  TEMPLATE_UID,
  type Template,
} from './zygote-testing.ts';

const isRoot = process.geteuid?.() === 0;
const SPARES = 1;

async function until<T>(look: () => T | undefined, what: string): Promise<T> {
  for (let i = 0; i < 30_000; i++) {
    const seen = look();
    if (seen !== undefined) return seen;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  throw new Error(`${what}: in vain`);
}

const commandOf = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
};

/** PID 1 and the agent of every complete birth that nobody has taken. */
function spares(): { init: number; agent: number }[] {
  const groups = leftoverGroups().filter((group) => path.basename(group).startsWith('spare-'));
  const births = new Map<string, { init: number; agent: number }>();
  for (const group of groups) {
    let processes: number[] = [];
    try {
      processes = readFileSync(path.join(group, 'cgroup.procs'), 'utf8')
        .split('\n')
        .filter(Boolean)
        .map(Number);
    } catch {
      continue; // just gone
    }
    const init = processes.find((pid) => commandOf(pid) === 'clove-init\0');
    const agent = processes.find((pid) => pid !== init);
    if (processes.length === 2 && init !== undefined && agent !== undefined)
      births.set(path.basename(group), { init, agent });
  }
  return [...births.values()];
}

const aSpare = () => until(() => spares()[0], 'no agent was born ahead');
const status = (pid: number) => readFileSync(`/proc/${pid}/status`, 'utf8');

describe.skipIf(!isRoot)('agents born ahead', () => {
  let template: Template;
  let hello: string;

  beforeAll(async () => {
    await prepareTemplates();
    hello = script(
      'hello.py',
      'import os, random, sys\nprint(os.getuid(), os.environ.get("WHO"), sys.argv[1:], random.random(), os.getcwd())\n',
    );
    template = await startTemplate('python', ['random', 'json']);
  }, 180_000);

  afterAll(async () => {
    await endTemplates();
    await noGroupsLeft();
    await cleanUp();
  });

  it('are what they are told to be when they are wanted, with every layer on', async () => {
    const first = await run(template, hello, ['a'], { env: { WHO: 'first' } }, SPARES);
    expect(first.sandbox.setupUs).toHaveProperty('fork');
    await aSpare();
    const second = await run(
      template,
      hello,
      ['b'],
      { env: { WHO: 'second' }, cwd: '/tmp', limits: { maxPids: 9 } },
      SPARES,
    );
    expect(second.sandbox.setupUs).toHaveProperty('prepared');
    expect(second.sandbox.setupUs).not.toHaveProperty('fork');
    expect(second.stderr).toBe('');
    const [uid, who, argv, luck, cwd] = second.stdout.trim().split(' ');
    expect([who, argv, cwd]).toEqual(['second', "['b']", '/tmp']);
    expect(uid).not.toBe(first.stdout.split(' ')[0]);
    expect(luck).not.toBe(first.stdout.trim().split(' ')[3]);
    const off = second.sandbox.layers.filter(({ state }) => state !== 'on').map(({ layer }) => layer);
    expect(off).toEqual(['timens', 'overlay', 'cpuset']);
    for (const layer of ['uid', 'caps', 'nnp', 'seccomp', 'mntns', 'pidns', 'netns', 'userns'])
      expect(second.sandbox.layers.find((one) => one.layer === layer)?.how).toMatch(/seen from outside$/);
    expect(second.sandbox.layers.find(({ layer }) => layer === 'pids')?.how).toContain('9');
  });

  it('are limited like those that were not', async () => {
    await aSpare();
    const hog = script('hog.py', 'x = []\nwhile True: x.append(bytearray(1 << 20))\n');
    const outcome = await run(template, hog, [], { limits: { memoryBytes: 48 * 2 ** 20 } }, SPARES);
    expect(outcome.sandbox.setupUs).toHaveProperty('prepared');
    expect(outcome.reason).toBe('oom');
  });

  it('are refused at every step of what is left of the setup, without a trace', async () => {
    for (const faultStep of [
      'id_maps',
      'plan',
      'root_tmpfs',
      'uid',
      'landlock',
      'seccomp',
      'fork_agent',
      'verify',
      'exec',
    ]) {
      await run(template, hello, [], {}, SPARES);
      await aSpare();
      await expect(
        run(template, hello, [], { faultStep, faultErrno: 5 }, SPARES),
        faultStep,
      ).rejects.toMatchObject({
        code: 'SANDBOX_UNAVAILABLE',
        details: { stage: faultStep, errno: 'EIO' },
      });
    }
  });

  it('are not missed when they have died: the launch goes the ordinary way', async () => {
    await run(template, hello, [], {}, SPARES);
    const { agent, init } = await aSpare();
    process.kill(agent, 'SIGKILL');
    await until(() => (commandOf(init) === '' ? true : undefined), 'PID 1 lives on');
    expect(await run(template, hello, [], { env: { WHO: 'x' } }, SPARES)).toMatchObject({ exitCode: 0 });
    const next = await aSpare();
    process.kill(next.init, 'SIGKILL');
    expect(await run(template, hello, [], { env: { WHO: 'y' } }, SPARES)).toMatchObject({ exitCode: 0 });
  });

  it('cannot be looked into, traced or told anything by a template that is not to be trusted', async () => {
    // A process that a module of the template has left behind: same user, same pid namespace, and the owner of every agent's
    // user namespace. It tries for as long as it lives, whatever appears.
    const module = script(
      'attacks.py',
      `import ctypes, os, platform
PTRACE, READV, SETNS = (101, 310, 308) if platform.machine() == 'x86_64' else (117, 270, 268)
PIDFD_OPEN, PIDFD_GETFD = 434, 438
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *values):
    ctypes.set_errno(0)
    return libc.syscall(number, *[ctypes.c_long(v) if isinstance(v, int) else v for v in values])
def attack(pid):
    got = []
    for name in ('mem', 'environ', 'maps', 'root', 'cwd', 'exe', 'fd', 'ns/user', 'ns/pid', 'ns/mnt', 'uid_map'):
        path = '/proc/%d/%s' % (pid, name)
        try:
            if name in ('root', 'cwd'): os.listdir(path)
            elif name in ('exe', 'ns/user', 'ns/pid', 'ns/mnt'): os.readlink(path)
            elif name == 'fd': os.listdir(path)
            else: os.close(os.open(path, os.O_RDWR if name in ('mem', 'uid_map') else os.O_RDONLY))
            got.append(name)
        except OSError: pass
    if call(PTRACE, 16, pid, 0, 0) == 0: got.append('ptrace')
    buffer = ctypes.create_string_buffer(8)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    if call(READV, pid, vector, 1, vector, 1, 0) > 0: got.append('process_vm_readv')
    pidfd = call(PIDFD_OPEN, pid, 0)
    if pidfd >= 0:
        for fd in range(8):
            if call(PIDFD_GETFD, pidfd, fd, 0) >= 0: got.append('pidfd_getfd')
        for kind in (0x10000000, 0x20000, 0x40000000):
            if call(SETNS, pidfd, kind) == 0: got.append('setns')
        os.close(pidfd)
    return got
if os.fork() == 0:
    own = os.getpid()
    known = {}
    while True:
        for pid in range(2, 400):
            if pid in (own, os.getppid()): continue
            try: os.kill(pid, 0)
            except ProcessLookupError: continue
            except PermissionError: pass
            for what in attack(pid):
                if (pid, what) not in known:
                    known[(pid, what)] = 1
                    os.write(1, ('GOT %d %s\\n' % (pid, what)).encode())
            if pid not in known:
                known[pid] = 1
                os.write(1, ('TRIED %d\\n' % pid).encode())
`,
    );
    const hostile = await startTemplate('python', [module]);
    const reads = script('stays.py', 'import sys\nprint("up", flush=True)\nsys.stdin.readline()\n');
    endSpares(TEMPLATE_UID);
    const running = await start(hostile, reads, [], { stdin: 'pipe' }, SPARES);
    const waiting = await aSpare();
    const insideOf = (pid: number) =>
      status(pid)
        .match(/\nNSpid:\t(.*)/)?.[1]
        ?.split('\t') ?? [];
    // Their numbers where the template lives: second to last, because each is in a namespace of its own below.
    const numbers = [running.pid, running.initPid, waiting.agent, waiting.init].map((pid) =>
      insideOf(pid).at(-2),
    );
    expect(numbers.every((number) => Number(number) > 1)).toBe(true);
    for (const number of numbers)
      await until(
        () => (hostile.stdout().includes(`TRIED ${number}\n`) ? true : undefined),
        `${number} was not tried`,
      );
    const got = hostile
      .stdout()
      .split('\n')
      .filter((line) => line.startsWith('GOT') && numbers.includes(line.split(' ')[1]));
    expect(got).toEqual([]);
    running.kill();
    await running.exited;
    endSpares(TEMPLATE_UID);
  });

  it('do not keep a template that nobody can ask any more, and live on without it', async () => {
    const retired = await startTemplate('python');
    const stays = script('waits.py', 'import sys\nprint(sys.stdin.readline(), end="")\n');
    const agent = await start(retired, stays, [], { stdin: 'pipe' }, SPARES);
    closeTemplate(retired);
    await until(
      () => (commandOf(retired.sandbox.pid) === '' ? true : undefined),
      'the template stays while its agent lives',
    );
    const said = readAll(agent.stdoutFd);
    writeSync(agent.stdinFd as number, 'still here\n');
    expect(await said).toBe('still here\n');
    closeSync(agent.stdinFd as number);
    expect(await agent.exited).toMatchObject({ reason: 'exited', exitCode: 0 });
    await retired.sandbox.exited;
  });

  it('are refused where PID 1 is a program of the template, which gets no user', async () => {
    // It never comes to the part of a template that is ours: it answers the kernel by itself.
    const module = script(
      'impostor.py',
      `import array, ctypes, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
PIDFD_OPEN, NEWUSER, STAGE2 = 434, 0x10000000, 7
# Where it takes requests: the one socket that it has.
number = next(fd for fd in range(64) if os.path.lexists('/proc/self/fd/%d' % fd) and os.readlink('/proc/self/fd/%d' % fd).startswith('socket:'))
channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=number)
os.write(1, ${JSON.stringify(ZYGOTE_READY)}.encode() + b'\\n')
while True:
    data, ancillary, *_ = channel.recvmsg(4096, socket.CMSG_SPACE(64))
    if not data: os._exit(0)
    fds = array.array('i')
    for _, _, content in ancillary: fds.frombytes(content[:len(content) - len(content) % 4])
    if os.fork() == 0:
        libc.unshare(NEWUSER)
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=fds[0])
        own = array.array('i', [libc.syscall(PIDFD_OPEN, os.getpid(), 0)])
        control.sendmsg([struct.pack('IIiiIxxxxQ', STAGE2, 0, 0, 0, 255, 0)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, own)])
        control.recv(8192)
        os.write(1, ('MAP %r\\n' % open('/proc/self/uid_map').read()).encode())
        os._exit(0)
    for fd in fds: os.close(fd)
`,
    );
    endSpares(TEMPLATE_UID);
    const hostile = await startTemplate('python', [module]);
    await expect(start(hostile, hello)).rejects.toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      details: { stage: 'clone', errno: 'EPERM' },
    });
    expect(hostile.stdout()).not.toMatch(/MAP '.*\d/);
  });

  it('get orders that their template cannot read, whatever it keeps of the sockets they were born with', async () => {
    // A process that a module leaves behind stands between the kernel and the template: it passes every request on, keeps the
    // agent's control socket, and looks at all that comes there without taking it.
    const module = script(
      'keeps.py',
      `import array, os, select, socket, struct
number = next(fd for fd in range(64) if os.path.lexists('/proc/self/fd/%d' % fd) and os.readlink('/proc/self/fd/%d' % fd).startswith('socket:'))
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
if os.fork() != 0:
    os.dup2(theirs.fileno(), number)
    ours.close(); theirs.close()
else:
    theirs.close()
    channel = socket.socket(fileno=number)
    kept = []
    channel.setblocking(False)
    while True:
        try:
            data, ancillary, *_ = channel.recvmsg(4096, socket.CMSG_SPACE(256))
            if not data: os._exit(0)
            fds = array.array('i')
            for _, _, content in ancillary: fds.frombytes(content[:len(content) - len(content) % 4])
            kept.append(socket.socket(fileno=os.dup(fds[0])))
            ours.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
            for fd in fds: os.close(fd)
            os.write(1, b'KEPT\\n')
        except BlockingIOError: pass
        for one in kept:
            try: data, ancillary, *_ = one.recvmsg(8192, socket.CMSG_SPACE(512), socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except OSError: continue
            if not data: continue
            count = sum(len(content) // 4 for _, _, content in ancillary)
            os.write(1, ('SAW %d with %d\\n' % (struct.unpack('I', data[:4])[0], count)).encode())
`,
    );
    endSpares(TEMPLATE_UID);
    const hostile = await startTemplate('python', [module]);
    const stays = script('stays.py', 'import sys\nprint("up", flush=True)\nsys.stdin.readline()\n');
    // Born when it is wanted, and born ahead.
    for (const how of ['fork', 'prepared']) {
      const agent = await start(hostile, stays, [], { stdin: 'pipe' }, SPARES);
      expect(agent.setupUs).toHaveProperty(how);
      const command = await agent.exec({
        argv: ['/bin/echo', 'done'],
        env: {},
        cwd: '/',
        stdin: null,
        timeoutMs: null,
      });
      expect((await readAll(command.stdoutFd)).trim()).toBe('done');
      await readAll(command.stderrFd);
      agent.kill();
      await agent.exited;
      if (how === 'fork') await aSpare();
    }
    endSpares(TEMPLATE_UID);
    await until(() => (hostile.stdout().split('KEPT').length > 2 ? true : undefined), 'it kept nothing');
    // Gate 2 of the agent, which says nothing but that; no order, no command, no descriptor.
    const saw = hostile.stdout().match(/SAW .*/g) ?? [];
    expect(saw.filter((line) => line !== 'SAW 2 with 0')).toEqual([]);
    closeTemplate(hostile);
    hostile.sandbox.kill();
    await hostile.sandbox.exited;
  });

  it('end with their template, and leave nothing', async () => {
    const mortal = await startTemplate('python');
    await run(mortal, hello, [], {}, SPARES);
    const { agent, init } = await aSpare();
    endSpares(TEMPLATE_UID);
    await until(() => (commandOf(agent) + commandOf(init) === '' ? true : undefined), 'they live on');
    await until(() => (spares().length === 0 ? true : undefined), 'their groups are left');
    expect(readdirSync('/proc').includes(String(mortal.sandbox.pid))).toBe(true);
    expect(await run(mortal, hello)).toMatchObject({ exitCode: 0 });
  });
});
