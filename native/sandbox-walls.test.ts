// What a hostile agent sees and may do: each wall from the inside, with real attacks where they are cheap.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { LAYERS, launch } from './index.ts';
import { sandboxFace } from './sandbox-native.ts';
import {
  cleanUp,
  compileProbe,
  EVERY_LAYER,
  runToEnd,
  shell,
  startReady,
  TEST_UID,
  temporaryFolder,
  testSpec,
} from './sandbox-testing.ts';

afterAll(cleanUp);

const python = (script: string, changes = {}) => runToEnd(['/usr/bin/python3', '-I', '-c', script], changes);

describe('the walls of a sandbox, seen from inside', () => {
  it('gives the agent a user of its own, no groups, no capabilities, no way to gain privileges, a filter', async () => {
    const { stdout } = await shell('cat /proc/self/status; cat /proc/self/uid_map; id -un');
    const field = (name: string) => new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(stdout)?.[1]?.trim();
    expect(field('Uid')).toBe(Array(4).fill(TEST_UID).join('\t'));
    expect(field('Gid')).toBe(Array(4).fill(TEST_UID).join('\t'));
    expect(field('Groups')).toBe('');
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      expect(field(set)).toBe('0000000000000000');
    expect(field('NoNewPrivs')).toBe('1');
    expect(field('Seccomp')).toBe('2');
    expect(stdout).toMatch(/agent\n$/);
  });

  it('has namespaces of its own, and says so only where it is true', async () => {
    const sandbox = await startReady(['/bin/sh', '-c', 'echo ready; sleep 30']);
    for (const name of ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup']) {
      expect(readlinkSync(`/proc/${sandbox.pid}/ns/${name}`), name).not.toBe(
        readlinkSync(`/proc/self/ns/${name}`),
      );
    }
    sandbox.kill();
    await sandbox.exited;
    const plain = await startReady(['/bin/sh', '-c', 'echo ready; sleep 30'], {
      disable: ['ipcns', 'utsns'],
    });
    expect(readlinkSync(`/proc/${plain.pid}/ns/ipc`)).toBe(readlinkSync('/proc/self/ns/ipc'));
    expect(plain.layers.find(({ layer }) => layer === 'ipcns')).toMatchObject({
      state: 'off',
      requested: false,
    });
    plain.kill();
    await plain.exited;
  });

  it('hides host files and processes', async () => {
    const { stdout, stderr } = await shell(
      'ls /root /home /srv /opt /mnt /boot /sys /old /work/.. ; cat /etc/shadow /etc/gshadow; ls -d /proc/[0-9]*; ls / | tr "\\n" " "; cat /proc/self/mountinfo',
    );
    expect(stderr.match(/No such file/g)?.length).toBeGreaterThanOrEqual(9);
    expect(stdout).not.toMatch(/\/proc\/1\n/);
    expect(stdout).toContain('bin dev etc lib');
    for (const name of ['/tmp/clove', path.dirname(import.meta.dirname), '/root'])
      expect(stdout).not.toContain(name);
  });

  it('makes everything read-only but the scratch places', async () => {
    const { stdout } = await shell(
      'for d in / /usr /usr/bin /etc /etc/ssl /dev /proc /proc/sys/kernel /var; do touch $d/x 2>/dev/null && echo "wrote $d"; done; for d in /work /tmp /run /dev/shm /var/tmp; do touch $d/x && echo "ok $d"; done; echo 1 > /proc/sys/vm/drop_caches; echo x > /proc/sys/kernel/core_pattern; echo done',
    );
    expect(stdout).not.toContain('wrote');
    expect(stdout.match(/ok /g)).toHaveLength(5);
    expect(stdout).toContain('done');
  });

  it('masks what /proc tells about the host', async () => {
    const { stdout } = await shell(
      'for f in kcore keys timer_list kallsyms config.gz cmdline key-users; do [ -e /proc/$f ] && printf "%s:%s\\n" $f "$(head -c 20 /proc/$f 2>/dev/null | wc -c)"; done; ls /proc/acpi 2>/dev/null | wc -l',
    );
    for (const line of stdout.trim().split('\n')) expect(line).toMatch(/^(0|.*:0)$/);
    const strict = await shell('ls /proc | grep -v "^[0-9]" | tr "\\n" " "', { profile: 'strict' });
    expect(strict.stdout.trim().split(' ').sort()).toEqual(expect.arrayContaining(['self', 'thread-self']));
    expect(strict.stdout).not.toContain('meminfo');
  });

  it('shows only minimal devices and no /sys', async () => {
    const { stdout } = await shell(
      'ls /dev | tr "\\n" " "; ls /sys 2>&1; head -c 4 /dev/urandom | wc -c; echo x > /dev/null && echo fine; cat /dev/kmsg /dev/mem 2>&1',
    );
    expect(stdout).toContain('fd full null random shm stderr stdin stdout urandom zero ');
    expect(stdout).toContain('4\nfine');
    expect(stdout.match(/No such file/g)).toHaveLength(3);
  });

  it('inherits neither variables nor descriptors of the kernel', async () => {
    process.env.CLOVE_SECRET_TOKEN = 'do-not-tell';
    const { stdout } = await shell('env | sort; ls /proc/self/fd | tr "\\n" " "', {
      env: { PATH: '/usr/bin:/bin', MINE: 'yes' },
    });
    delete process.env.CLOVE_SECRET_TOKEN;
    expect(stdout).toBe('MINE=yes\nPATH=/usr/bin:/bin\nPWD=/work\n0 1 2 3 ');
  });

  it('lets the request decide where the kernel’s variables are inherited in words', async () => {
    process.env.CLOVE_TEST_MARK = 'of the kernel';
    try {
      const env = { PATH: '/usr/bin:/bin', CLOVE_TEST_MARK: 'of the request' };
      const { stdout } = await runToEnd(['/usr/bin/env'], { env, disable: ['env'] });
      expect(stdout.match(/^(?:PATH|CLOVE_TEST_MARK)=.*$/gm)?.sort()).toEqual([
        'CLOVE_TEST_MARK=of the request',
        'PATH=/usr/bin:/bin',
      ]);
    } finally {
      delete process.env.CLOVE_TEST_MARK;
    }
  });

  it('shows the root in every line of /proc/self/cgroup', async () => {
    const { stdout } = await shell('cat /proc/self/cgroup');
    for (const line of stdout.trim().split('\n')) expect(line).toMatch(/:\/$/);
  });

  it('has a network of its own with nothing but lo', async () => {
    const { stdout } = await python(`
import socket
print(sorted(name for _, name in socket.if_nameindex()))
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(); c = socket.create_connection(s.getsockname()); print("loopback works")
for target in (("1.1.1.1", 53), ("169.254.169.254", 80)):
    try: socket.create_connection(target, 1); print("reached", target)
    except OSError as e: print(e.errno)
`);
    expect(stdout).toBe("['lo']\nloopback works\n101\n101\n");
  });

  it('cannot reach abstract sockets of the host', async () => {
    const name = `\0clove-test-${process.pid}`;
    const server = createServer(() => {}).listen(name);
    const attack = `
import socket
s = socket.socket(socket.AF_UNIX)
try: s.connect("\\0clove-test-${process.pid}"); print("connected")
except OSError as e: print(e.strerror)`;
    expect((await python(attack)).stdout).toBe('Connection refused\n');
    // With the host's network, Landlock's scope alone keeps it out: from ABI 6 on. Before that the report says that there is none.
    const open = await python(attack, { network: 'host' });
    const { how } = open.sandbox.layers.find(({ layer }) => layer === 'landlock') ?? { how: '' };
    expect(how).toMatch(/no scopes|scopes/);
    expect(open.stdout).toBe(how.includes('no scopes') ? 'connected\n' : 'Operation not permitted\n');
    server.close();
  });

  it('connects to its own socket, and to nothing else that is mounted', async () => {
    const folder = temporaryFolder();
    const file = path.join(folder, 'a.sock');
    const server = createServer((client) => client.end('welcome'));
    await new Promise<void>((resolve) => server.listen(file, resolve));
    execFileSync('chown', [String(TEST_UID), file]);
    const { stdout, stderr } = await python(
      'import socket\nfor p in ("/run/clove.sock", "/tmp/clove.sock"):\n  s = socket.socket(socket.AF_UNIX); s.connect(p); print(s.recv(20))',
      { socketPath: file },
    );
    server.close();
    expect(stderr).toBe('');
    expect(stdout).toBe("b'welcome'\nb'welcome'\n");
  });

  it('mounts what it is told: read-only or writable, files and folders, deep targets', async () => {
    const folder = temporaryFolder();
    writeFileSync(path.join(folder, 'note'), 'from outside');
    execFileSync('chown', ['-R', String(TEST_UID), folder]);
    const { stdout } = await shell(
      'cat /opt/a/b/note; echo x > /opt/a/b/note; cat /usr/share/../../srv/note; echo new > /work/made && echo written',
      {
        mounts: [
          { source: folder, target: '/opt/a/b', readonly: true },
          { source: path.join(folder, 'note'), target: '/srv/note', readonly: true },
          { source: path.join(folder, 'd'), target: '/work', readonly: false },
        ],
      },
    );
    expect(stdout).toBe('from outsidefrom outsidewritten\n');
    expect(readFileSync(path.join(folder, 'd', 'made'), 'utf8')).toBe('new\n');
  });

  it('runs no set-user-id program with other rights', async () => {
    const folder = compileProbe(
      '#include <unistd.h>\n#include <stdio.h>\nint main() { printf("%d %d", getuid(), geteuid()); }',
    );
    execFileSync('chmod', ['u+s', path.join(folder, 'probe')]);
    const { stdout } = await runToEnd(['/opt/bin/probe'], {
      mounts: [{ source: folder, target: '/opt/bin', readonly: true }],
    });
    expect(stdout).toBe(`${TEST_UID} ${TEST_UID}`);
  });

  it('cannot see or stop PID 1, nor write the program it runs', async () => {
    const { stdout } = await shell(
      'kill -9 1; kill -TERM 1; kill -STOP 1; (exec 3<>/proc/1/mem) 2>/dev/null && echo open; cat /proc/1/environ 2>/dev/null && echo read; readlink /proc/1/exe; echo alive',
    );
    expect(stdout).toBe('alive\n');
  });

  it('gains nothing from what one user may do to its other processes: PID 1 lives under the same', async () => {
    const script = `
import ctypes, os, resource
libc = ctypes.CDLL(None, use_errno=True)
print(libc.ptrace(16, 1, 0, 0), libc.syscall(434, 1, 0) >= 0)
for path in ("/proc/1/fd", "/proc/1/map_files", "/proc/1/task", "/proc/1/cwd", "/proc/1/root"):
    try: print(path, os.listdir(path))
    except OSError as e: print(path, e.errno)
pidfd = os.pidfd_open(1)
print([libc.syscall(438, pidfd, n, 0) for n in range(8)])
resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))`;
    const { stdout, exitCode } = await runToEnd(['/usr/bin/python3', '-I', '-c', script]);
    const [calls, ...rest] = stdout.trim().split('\n');
    expect(calls).toBe('-1 True');
    expect(rest.slice(0, 5).every((line) => / (2|13)$/.test(line))).toBe(true);
    expect(rest[5]).toBe('[-1, -1, -1, -1, -1, -1, -1, -1]');
    expect(exitCode).toBe(0);
  });

  it('keeps a signal within the sandbox', async () => {
    const bystander = await startReady(['/bin/sh', '-c', 'echo ready; sleep 30']);
    const { stdout } = await shell(
      `kill -0 ${process.pid} || kill -0 ${bystander.pid} || echo unreachable; kill -9 -1`,
    );
    expect(stdout).toBe('unreachable\n');
    expect(bystander.stats().processIds).toContain(bystander.pid);
    bystander.kill();
    await bystander.exited;
  });

  it('leaves no core file behind', async () => {
    const folder = temporaryFolder();
    execFileSync('chmod', ['777', path.join(folder, 'd')]);
    await shell('ulimit -c; ulimit -c unlimited 2>/dev/null; kill -ABRT $$', {
      mounts: [{ source: path.join(folder, 'd'), target: '/work', readonly: false }],
    });
    expect(readdirSync(path.join(folder, 'd'))).toEqual([]);
  });
});

describe('what is reported', () => {
  it('names every layer once, with evidence, in the order of the contract', async () => {
    const { sandbox } = await runToEnd(['/bin/true']);
    expect(sandbox.layers.map(({ layer }) => layer)).toEqual([...LAYERS]);
    expect(sandboxFace().names()[0]).toEqual([...LAYERS]);
    for (const report of sandbox.layers) {
      expect(report.how, report.layer).not.toBe('');
      if (EVERY_LAYER.includes(report.layer))
        expect(report, report.layer).toMatchObject({ state: 'on', requested: true, errno: null });
    }
  });

  it('says off for every layer that was left out, and still supervises', async () => {
    const disable = LAYERS.filter((layer) => !['kill', 'freeze'].includes(layer));
    const sandbox = await launch(
      testSpec(['/bin/sh', '-c', 'id -u; (sleep 60 &); exit 5'], { disable, cwd: '/' }),
    );
    for (const { layer, state } of sandbox.layers) {
      if (disable.includes(layer)) expect([layer, state]).not.toEqual([layer, 'on']);
    }
    expect(await sandbox.exited).toMatchObject({ reason: 'exited', exitCode: 5 });
    expect(sandbox.stats().processIds).toEqual([]);
    closeSync(sandbox.stdoutFd as number);
    closeSync(sandbox.stderrFd as number);
  });

  it('runs clove-init from a sealed copy that nobody can change', () => {
    const exe = readdirSync('/proc/self/fd').map((fd) => {
      try {
        return { fd, target: readlinkSync(`/proc/self/fd/${fd}`) };
      } catch {
        return { fd, target: '' };
      }
    });
    const image = exe.find(({ target }) => target.startsWith('/memfd:clove-init'));
    expect(image).toBeDefined();
    const file = `/proc/self/fd/${image?.fd}`;
    const digest = () => createHash('sha256').update(readFileSync(file)).digest('hex');
    const before = digest();
    expect(() => writeFileSync(file, 'x')).toThrow();
    expect(digest()).toBe(before);
  });
});
