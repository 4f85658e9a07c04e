// What an agent can do to the mounts it lives in: nothing. Looked at from inside, and at the host's folders from outside.
import { chownSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { isRoot, told } from './sandbox-alone-testing.ts';
import { cleanUp, TEST_UID, temporaryFolder } from './sandbox-testing.ts';

afterAll(cleanUp);

/** Nothing of it happens where the mount namespace is that of the host. */
const GUARD = `
if os.readlink('/proc/self/ns/mnt') == ${JSON.stringify(readlinkSync('/proc/self/ns/mnt'))}: sys.exit('this is the host')
`;

describe.skipIf(!isRoot)('an agent', () => {
  it('mounts nothing, makes nothing writable, takes no mask away and has no other root', async () => {
    const answer = await told(
      `${GUARD}
before = open('/proc/self/mountinfo').read()
number = lambda *a: call(libc.syscall, *a)
tried = [call(libc.mount, b'x', b'/tmp', b'tmpfs', 0, None), call(libc.mount, b'/usr', b'/tmp', None, 0x1000, None),
  call(libc.mount, None, b'/usr', None, 0x1020, None), call(libc.mount, None, b'/', None, 0x1020, None), call(libc.mount, None, b'/', None, 0x44000, None),
  number(166, b'/proc/kcore', 2), number(166, b'/proc/sys', 2), number(166, b'/proc', 2), number(166, b'/', 2),
  number(429, -100, b'/proc/kcore', 0, -100, b'/tmp/x', 0), number(428, -100, b'/usr', 1), number(442, -100, b'/usr', 0, bytes(32), 32),
  number(155, b'/tmp', b'/tmp'), attempt(lambda: os.chroot('/tmp')), number(308, os.open('/proc/self/ns/mnt', 0), 0x20000)]
tell(sorted(set(tried)), open('/proc/self/mountinfo').read() == before, opened('/usr/new', os.O_CREAT | os.O_WRONLY), open('/proc/cmdline').read() == '')`,
      [],
    );
    expect(answer).toEqual([['EPERM'], true, 'EROFS', true]);
  });

  it('comes by no folder and no number of dots to anything above its root', async () => {
    const answer = await told(
      `${GUARD}
root = os.stat('/')
wrong = []
for start in ('/', '/work', '/tmp', '/proc/self', '/proc/self/cwd', '/proc/self/root', '/usr/lib', '/etc', '/dev/shm', '/dev/fd'):
    fd = os.open(start, os.O_RDONLY | os.O_DIRECTORY)
    for dots in range(1, 40):
        up = os.stat('/'.join(['..'] * dots), dir_fd=fd)
        if dots >= 8 and (up.st_dev, up.st_ino) != (root.st_dev, root.st_ino): wrong.append((start, dots))
    os.close(fd)
# A folder that is moved away while somebody stands in it.
os.makedirs('/tmp/a/b/c'); os.chdir('/tmp/a/b/c'); os.rename('/tmp/a/b', '/tmp/b')
up = os.stat('../' * 20)
tell(wrong, (up.st_dev, up.st_ino) == (root.st_dev, root.st_ino), opened('../' * 20 + 'etc/shadow'), sorted(os.listdir('../' * 20)) == sorted(os.listdir('/')))`,
      [],
    );
    expect(answer).toEqual([[], true, 'ENOENT', true]);
  });

  it('makes what is mounted read-only writable by no renaming around it', async () => {
    const workspace = path.join(temporaryFolder(), 'd');
    const kept = path.join(temporaryFolder(), 'd');
    writeFileSync(path.join(kept, 'policy'), 'as it was');
    mkdirSync(path.join(workspace, 'parent', 'kept'), { recursive: true });
    for (const folder of [
      workspace,
      path.join(workspace, 'parent'),
      path.join(workspace, 'parent', 'kept'),
      kept,
    ])
      chownSync(folder, TEST_UID, TEST_UID);
    chownSync(path.join(kept, 'policy'), TEST_UID, TEST_UID);
    const answer = await told(
      `${GUARD}
def write(name): return attempt(lambda: open(name, 'w').write('changed'))
said = [attempt(lambda: os.rename('/work/parent/kept', '/work/other')), attempt(lambda: os.rmdir('/work/parent/kept')), write('/work/parent/kept/policy'),
  attempt(lambda: os.rename('/work/parent', '/work/moved')), write('/work/moved/kept/policy'), attempt(lambda: os.chmod('/work/moved/kept/policy', 0o777)),
  attempt(lambda: os.link('/work/moved/kept/policy', '/work/second')), attempt(lambda: os.unlink('/work/moved/kept/policy'))]
os.makedirs('/work/parent/kept')
os.symlink('/work/moved/kept/policy', '/work/parent/kept/policy')
tell(*said, write('/work/parent/kept/policy'))`,
      [],
      {
        mounts: [
          { source: workspace, target: '/work', readonly: false },
          { source: kept, target: '/work/parent/kept', readonly: true },
        ],
      },
    );
    expect(answer).toEqual([
      'EBUSY',
      'EBUSY',
      'EROFS',
      'done', // takes the mount along
      'EROFS',
      'EROFS',
      'EXDEV',
      'EROFS',
      'EROFS',
    ]);
    expect(readdirSync(kept)).toEqual(['policy']);
    expect(readFileSync(path.join(kept, 'policy'), 'utf8')).toBe('as it was');
  });
});
