// Each wall alone, all others taken away.
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, copyFileSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { hostCapabilities, LAYERS, type Layer } from './index.ts';
import { alone, isRoot, PRELUDE, told, without } from './sandbox-alone-testing.ts';
import { cleanUp, compileProbe, TEST_UID, temporaryFolder, testParent } from './sandbox-testing.ts';

afterAll(cleanUp);

describe.skipIf(!isRoot)('each wall alone', () => {
  it('uid: no secret of another user, no signal to its processes', async () => {
    const victim = spawn('sleep', ['600']);
    try {
      await alone('uid', {
        needs: ['caps'], // which go by every user
        source: `tell(opened('/etc/shadow'), attempt(lambda: os.kill(${victim.pid}, 0)), opened('/etc/hosts', os.O_WRONLY))`,
        open: ['done', 'done', 'done'],
        held: ['EACCES', 'EPERM', 'EACCES'],
      });
    } finally {
      victim.kill('SIGKILL');
    }
  });

  it('caps: user 0 owns nothing anew, makes no raw packets, no namespaces and no new root', async () => {
    await alone('caps', {
      source: `
# Not of O_TMPFILE, which a root in layers has only since Linux 6.3.
mine = os.memfd_create('mine')
tell(attempt(lambda: os.fchown(mine, 1234, 1234)), attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)), attempt(lambda: os.nice(-1)),
  attempt(lambda: os.chroot('/')), call(libc.unshare, 0x20000))`,
      open: ['done', 'done', 'done', 'done', 'done'],
      held: ['EPERM', 'EPERM', 'EPERM', 'EPERM', 'EPERM'],
    });
  });

  it('nnp: nothing is gained by programs that set the user or bring capabilities', async () => {
    const folder = compileProbe(`#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main() {
  char line[256];
  FILE* status = fopen("/proc/self/status", "r");
  while (fgets(line, sizeof line, status) && strncmp(line, "CapEff:", 7) != 0) continue;
  printf("%d %d;", geteuid() == 0, strstr(line, "0000000000000000") == 0);
}`);
    const [plain, setUser, withCapability] = ['probe', 'set-user', 'with-capability'].map((name) =>
      path.join(folder, name),
    ) as [string, string, string];
    copyFileSync(plain, setUser);
    copyFileSync(plain, withCapability);
    chmodSync(setUser, 0o4755);
    // cap_net_raw, permitted and effective: the format of version 2.
    execFileSync('/usr/bin/python3', [
      '-c',
      `import os, struct, sys\nos.setxattr(sys.argv[1], 'security.capability', struct.pack('<5I', 0x02000001, 1 << 13, 0, 0, 0))`,
      withCapability,
    ]);
    await alone('nnp', {
      // As an agent that is still user 0 makes a process of no rights, which tries to get them back.
      source: `
os.setgroups([]); os.setresgid(${TEST_UID}, ${TEST_UID}, ${TEST_UID}); os.setresuid(${TEST_UID}, ${TEST_UID}, ${TEST_UID})
tell(*(os.popen(program).read() for program in ${JSON.stringify([plain, setUser, withCapability])}))`,
      open: ['0 0;', '1 1;', '0 1;'],
      held: ['0 0;', '0 0;', '0 0;'],
    });
  });

  it('seccomp: no namespaces, no mounts, no foreign sockets, no rings, no looks into memory', async (context) => {
    if (process.arch !== 'x64') context.skip('the numbers below are those of x86-64');
    const source = `
def number(*a): return call(libc.syscall, *(ctypes.c_long(x) for x in a))
sockets = [attempt(lambda: socket.socket(*kind)) for kind in ((17, 3, 0), (16, 3, 6), (40, 1, 0), (38, 5, 0))]
tell(number(272, 0x20000), number(165, 0, 0, 0, 0, 0), number(429, -1, 0, 0, 0, 0), number(425, 1, 0), number(323, 0), number(321, 99, 0, 0),
  number(310, os.getpid(), 0, 0, 0, 0, 0), number(250, 0, -4, 0), number(304, -1, 0, 0), *sockets)`;
    const open = (await told(source, without())) as string[];
    const held = (await told(source, without('seccomp'))) as string[];
    expect(held).toEqual(open.map(() => 'EPERM'));
    // Not each of them is in every kernel; but nothing else says EPERM to user 0.
    expect(open).not.toContain('EPERM');
    expect(open[0]).toBe('done');
  });

  it('landlock: even user 0 with every capability reads, writes and signals nothing of the host', async (context) => {
    const { landlockAbi } = hostCapabilities();
    if (landlockAbi === 0) context.skip('this kernel has no Landlock');
    const victim = spawn('sleep', ['600']);
    try {
      const signal = landlockAbi >= 6 ? 'EPERM' : 'done';
      await alone('landlock', {
        source: `tell(opened('/etc/shadow'), opened('/etc/hosts', os.O_WRONLY), attempt(lambda: os.listdir('/root')), attempt(lambda: os.kill(${victim.pid}, 0)))`,
        open: ['done', 'done', 'done', 'done'],
        held: ['EACCES', 'EACCES', 'EACCES', signal],
      });
    } finally {
      victim.kill('SIGKILL');
    }
  });

  it('pidns: no process outside can be named', async () => {
    const victim = spawn('sleep', ['600']);
    try {
      await alone('pidns', {
        source: `tell(attempt(lambda: os.kill(${victim.pid}, 0)), call(libc.syscall, 434, ${victim.pid}, 0))`,
        open: ['done', 'done'],
        held: ['ESRCH', 'ESRCH'],
      });
    } finally {
      victim.kill('SIGKILL');
    }
  });

  it('netns: no abstract socket, no port and no interface of the host', async () => {
    const name = `clove-wall-${process.pid}`;
    const abstract = createServer().listen(`\0${name}`);
    const port = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => port.once('listening', resolve));
    try {
      await alone('netns', {
        source: `
tell(attempt(lambda: socket.socket(socket.AF_UNIX).connect('\\0${name}')),
  attempt(lambda: socket.create_connection(('127.0.0.1', ${(port.address() as { port: number }).port}))),
  sorted(name for _, name in socket.if_nameindex()))`,
        open: ['done', 'done', readdirSync('/sys/class/net').sort()],
        held: ['ECONNREFUSED', 'ECONNREFUSED', ['lo']],
      });
    } finally {
      abstract.close();
      port.close();
    }
  });

  it('ipcns: no segment and no queue of the host', async () => {
    const key = 0x434c0000 + (process.pid & 0xffff);
    const make = `import ctypes; libc = ctypes.CDLL(None); print(libc.shmget(${key}, 4096, 0o3600), libc.msgget(${key}, 0o3600))`;
    const [segment, queue] = String(execFileSync('/usr/bin/python3', ['-c', make]))
      .trim()
      .split(' ');
    try {
      await alone('ipcns', {
        source: `tell(call(libc.shmget, ${key}, 4096, 0), call(libc.msgget, ${key}, 0))`,
        open: ['done', 'done'],
        held: ['ENOENT', 'ENOENT'],
      });
    } finally {
      const remove = `import ctypes; libc = ctypes.CDLL(None); libc.shmctl(${segment}, 0, None); libc.msgctl(${queue}, 0, None)`;
      execFileSync('/usr/bin/python3', ['-c', remove]);
    }
  });

  it('utsns: the name of the host is neither told nor changed', async () => {
    const name = os.hostname();
    await alone('utsns', {
      // It renames only what is not the host.
      source: `
before = socket.gethostname()
own = os.readlink('/proc/self/ns/uts') != ${JSON.stringify(readlinkSync('/proc/self/ns/uts'))}
if own: socket.sethostname('intruder')
tell(before, own, socket.gethostname())`,
      open: [name, false, name],
      held: ['box', true, 'intruder'],
    });
    expect(os.hostname()).toBe(name);
  });

  it('cgroupns: whatever it mounts, it finds no group of others and nothing that runs on the host', async () => {
    // Of the hierarchies in which the agent has a group: in others the root is that of the host all the same.
    const kinds = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map((line) => / - (cgroup2?) \S+ rw(?:,(\S+))?$/.exec(line)?.slice(1) ?? [])
      .filter(([kind, options]) => kind === 'cgroup2' || /\b(memory|cpu|pids)\b/.test(options ?? ''));
    expect(kinds.length).toBeGreaterThan(0);
    const source = `
lines = [line.strip().split(':', 2)[2] for line in open('/proc/self/cgroup')]
if call(libc.unshare, 0x20000) != 'done' or libc.mount(None, b'/', None, 0x44000, None) != 0: sys.exit('no mount namespace')
found = set()
for kind, options in ${JSON.stringify(kinds.map(([kind, options]) => [kind, options ?? '']))}:
    if libc.mount(b'c', b'/mnt', kind.encode(), 0, options.encode() if kind == 'cgroup' else None) != 0: sys.exit('not mounted')
    found |= {name for name in os.listdir('/mnt') if name in ('release_agent', 'clove', 'cgroup.procs')}
    libc.umount2(b'/mnt', 2)
tell(all(line == '/' for line in lines), any('${testParent}' in line for line in lines), sorted(found))`;
    const limits: Layer[] = ['mem', 'cpu', 'pids'];
    expect(await told(source, without(...limits, 'cgroupns'))).toEqual([true, false, ['cgroup.procs']]);
    const isV1 = kinds.some(([kind]) => kind === 'cgroup');
    expect(await told(source, without(...limits))).toEqual([
      false,
      true,
      ['cgroup.procs', 'clove', ...(isV1 ? ['release_agent'] : [])],
    ]);
  });

  it('mntns: nothing of the host is there to be read', async () => {
    await alone('mntns', {
      source: `tell(opened('/etc/shadow'), opened('/root'), opened(${JSON.stringify(import.meta.filename)}), opened('/old'))`,
      open: ['done', 'done', 'done', 'ENOENT'],
      held: ['ENOENT', 'ENOENT', 'ENOENT', 'ENOENT'],
    });
  });

  it('root_ro: the root takes no file', async () => {
    await alone('root_ro', {
      needs: ['mntns'],
      source: `tell(*(opened(folder + '/new', os.O_CREAT | os.O_WRONLY) for folder in ('', '/etc', '/var')))`,
      open: ['done', 'done', 'done'],
      held: ['EROFS', 'EROFS', 'EROFS'],
    });
  });

  it('proc_masked: settings of the host are not written, its addresses and its command line not read', async () => {
    await alone('proc_masked', {
      needs: ['mntns'],
      source: `
def content(name):
    try:
        with open(name, 'rb') as file: return len(file.read(64)) > 0
    except OSError: return False
tell(opened('/proc/sys/kernel/core_pattern', os.O_WRONLY), opened('/proc/sys/vm/drop_caches', os.O_WRONLY), content('/proc/cmdline'), content('/proc/kallsyms'))`,
      open: ['done', 'done', true, true],
      held: ['EROFS', 'EROFS', false, false],
    });
  });

  it('dev_min: no device of the host', async () => {
    const devices = readdirSync('/dev').filter((name) =>
      /^(kmsg|mem|port|vd[a-z]|sd[a-z]|loop0|ptmx)$/.test(name),
    );
    expect(devices.length).toBeGreaterThan(0);
    await alone('dev_min', {
      needs: ['mntns'],
      source: `tell(*(os.path.exists('/dev/' + name) for name in ${JSON.stringify(devices)}))`,
      open: devices.map(() => true),
      held: devices.map(() => false),
    });
  });

  it('sys_hidden: no /sys', async () => {
    await alone('sys_hidden', {
      needs: ['mntns'],
      source: `tell(os.path.exists('/sys/kernel'), os.path.exists('/sys/fs/cgroup'))`,
      open: [true, true],
      held: [false, false],
    });
  });

  it('fds: a descriptor that the kernel process left open does not travel', async () => {
    const folder = temporaryFolder();
    const file = path.join(folder, 'leak.cc');
    const library = path.join(folder, 'leak.so');
    // Everything that Node opens closes by itself when a program is executed: what does not is brought in from outside of it.
    writeFileSync(
      file,
      '#include <fcntl.h>\n#include <unistd.h>\n__attribute__((constructor)) static void open_it() { dup2(open("/etc/shadow", O_RDONLY), 201); }\n',
    );
    execFileSync(process.env.CXX ?? 'g++', ['-shared', '-fPIC', '-o', library, file]);
    expect(() => process.dlopen({ exports: {} }, library)).toThrow(/self-register/);
    await alone('fds', {
      source: 'tell(attempt(lambda: os.read(201, 1)))',
      open: ['done'],
      held: ['EBADF'],
    });
  });

  it('env: a secret of the kernel process does not travel', async () => {
    process.env.CLOVE_SECRET_TOKEN = 'do-not-tell';
    try {
      await alone('env', {
        source: `tell(os.environ.get('CLOVE_SECRET_TOKEN', 'none'), len(os.environ) > 5)`,
        open: ['do-not-tell', true],
        held: ['none', false],
      });
    } finally {
      delete process.env.CLOVE_SECRET_TOKEN;
    }
  });

  it('session: the terminal of whoever started the kernel is out of reach', async () => {
    const folder = temporaryFolder();
    const script = path.join(folder, 'kernel.mts');
    const from = (name: string) => JSON.stringify(path.join(import.meta.dirname, name));
    const attack = `${PRELUDE}tell(opened('/dev/tty', os.O_WRONLY), os.getsid(0) == KERNEL)`;
    writeFileSync(
      script,
      `import { writeFileSync } from 'node:fs';
      import { LAYERS } from ${from('index.ts')};
      import { cleanUp, runToEnd } from ${from('sandbox-testing.ts')};
      const said = [];
      for (const kept of [[], ['session']]) {
        const disable = LAYERS.filter((layer) => !['freeze', 'kill', ...kept].includes(layer));
        const source = ${JSON.stringify(attack)}.replace('KERNEL', String(process.pid));
        said.push((await runToEnd(['/usr/bin/python3', '-I', '-c', source], { cwd: '/tmp', disable })).stdout.trim());
      }
      await cleanUp();
      writeFileSync(${JSON.stringify(path.join(folder, 'said'))}, JSON.stringify(said));`,
    );
    // A terminal of its own: the kernel leads the session that has it.
    execFileSync('/usr/bin/python3', [
      '-c',
      'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]))',
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      script,
    ]);
    expect(JSON.parse(readFileSync(path.join(folder, 'said'), 'utf8'))).toEqual([
      '["done", true]',
      '["ENXIO", false]',
    ]);
  });
});

describe('the list of layers', () => {
  it('has none that is not tried alone, but those that are no wall or that another test holds', () => {
    const others: Partial<Record<Layer, string>> = {
      userns:
        'stands in for uid and the rights to make namespaces where the kernel is not root: sandbox-hosts.test.ts',
      timens: 'a clock of a world, no wall',
      overlay: 'files of a world, no wall',
    };
    const titles = ['sandbox-alone-walls.test.ts', 'sandbox-alone-limits.test.ts']
      .map((name) => readFileSync(path.join(import.meta.dirname, name), 'utf8'))
      .flatMap((text) => [...text.matchAll(/^ {2}it\('([a-z_, ]+): /gm)])
      .flatMap(([, names]) => names?.split(', ') ?? [])
      .concat(Object.keys(others));
    expect(titles.sort()).toEqual([...LAYERS].sort());
  });
});
