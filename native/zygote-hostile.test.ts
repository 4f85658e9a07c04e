// What a template that has been taken over says to the kernel, and does to the rights of its agents.
import { readdirSync, readlinkSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { endSpares, ZYGOTE_READY } from './index.ts';
import { cleanUp, noGroupsLeft } from './sandbox-testing.ts';
import {
  endTemplates,
  prepareTemplates,
  script,
  start,
  startTemplate,
  TEMPLATE_UID,
} from './zygote-testing.ts';

const isRoot = process.geteuid?.() === 0;

/** Descriptors of this process that came from a template. */
function strangers(): string[] {
  return readdirSync('/proc/self/fd')
    .map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return ''; // the one of the folder
      }
    })
    .filter((target) => target.includes('memfd:stranger'));
}

/** A module that takes requests in place of the template, and answers each with a hundred messages that carry descriptors. */
const floods = (message: string) => `import array, os, socket, struct
number = next(fd for fd in range(64) if os.path.lexists('/proc/self/fd/%d' % fd) and os.readlink('/proc/self/fd/%d' % fd).startswith('socket:'))
channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=number)
os.write(1, ${JSON.stringify(ZYGOTE_READY)}.encode() + b'\\n')
STAGE2 = 7
head = lambda kind: struct.pack('IIiiIxxxxQ', kind, 0, 0, 0, 255, 0)
while True:
    data, ancillary, *_ = channel.recvmsg(4096, socket.CMSG_SPACE(256))
    if not data: os._exit(0)
    fds = array.array('i')
    for _, _, content in ancillary: fds.frombytes(content[:len(content) - len(content) % 4])
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=fds[0])
    for fd in fds[1:]: os.close(fd)
    own = array.array('i', [os.memfd_create('stranger') for _ in range(2)])
    try:
        for _ in range(100): control.sendmsg([${message}], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, own)])
    except OSError: pass
    control.close()
    for fd in own: os.close(fd)
`;

/** A module that has a system call answered with success without its being made, in the template and all that comes from it. */
const fakes = (name: 'close_range' | 'seccomp') => `import ctypes, platform, struct
SECCOMP = 317 if platform.machine() == 'x86_64' else 277
LOAD, EQUAL, ANSWER, ALLOW, FAKE = 0x20, 0x15, 0x06, 0x7fff0000, 0x00050000
number, argument, value = ${name === 'seccomp' ? 'SECCOMP, 0, 1' : '436, 2, 0'}
lines = [(LOAD, 0, 0, 0), (EQUAL, 0, 3, number), (LOAD, 0, 0, 16 + 8 * argument), (EQUAL, 0, 1, value), (ANSWER, 0, 0, FAKE), (ANSWER, 0, 0, ALLOW)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *line) for line in lines))
program = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', len(lines), ctypes.addressof(code)))
if ctypes.CDLL(None).syscall(ctypes.c_long(SECCOMP), ctypes.c_long(1), ctypes.c_long(0), program) != 0: raise OSError('no filter')
`;

/** A module that has the C library leave seccomp(2) out, and nothing else: its agents report a filter and keep the template's. */
const LEAVES_OUT_FILTER = `import ctypes, mmap, struct
libc = ctypes.CDLL(None)
at = ctypes.cast(libc.syscall, ctypes.c_void_p).value
code = ctypes.string_at(at, 64)
after = code.index(b'\\x0f\\x05') + 2
page = mmap.mmap(-1, 4096, prot=7)
start = ctypes.addressof(ctypes.c_char.from_buffer(page))
jump = lambda to: b'\\x49\\xbb' + struct.pack('<Q', to) + b'\\x41\\xff\\xe3'
page.write(b'\\x81\\xff\\x3d\\x01\\x00\\x00\\x75\\x03\\x31\\xc0\\xc3' + code[:after] + jump(at + after))
if libc.mprotect(ctypes.c_void_p(at & ~4095), ctypes.c_size_t(8192), 7) != 0: raise OSError('no mprotect')
ctypes.memmove(at, jump(start), 13)
`;

describe.skipIf(!isRoot)('a template that has been taken over (needs root)', () => {
  let hello: string;

  beforeAll(async () => {
    await prepareTemplates();
    hello = script('hello.py', 'print("hello")\n');
  }, 240_000);

  beforeEach(() => endSpares(TEMPLATE_UID));

  afterAll(async () => {
    await endTemplates();
    await noGroupsLeft();
    await cleanUp();
  });

  for (const [what, message, stage, errno] of [
    ['of a kind that there is not', 'head(99)', 'verify', 'EPROTO'],
    ['of another time', 'head(17)', 'verify', 'EPROTO'],
    ['too short', "b'x'", 'verify', 'EPROTO'],
    ['empty', "b''", 'clone', 'ECHILD'],
    ['of a birth', 'head(STAGE2)', 'clone', 'EBADF'],
  ] as const)
    it(`leaves no descriptor in the kernel with messages ${what}, and gets no agent`, async () => {
      const hostile = await startTemplate('python', [script('floods.py', floods(message))]);
      await expect(start(hostile, hello)).rejects.toMatchObject({
        code: 'SANDBOX_UNAVAILABLE',
        details: { stage, errno },
      });
      expect(strangers()).toEqual([]);
    });

  for (const name of ['close_range', 'seccomp'] as const)
    it(`gets no agent out of a filter that fakes ${name}`, async () => {
      const hostile = await startTemplate('python', [script('fakes.py', fakes(name))]);
      await expect(start(hostile, hello)).rejects.toMatchObject({
        code: 'SANDBOX_UNAVAILABLE',
        details: { stage: 'clone', errno: 'EPERM' },
      });
    });

  it.skipIf(process.arch !== 'x64')(
    'gets no agent that keeps its filter in place of one of its own (machine code for x64)',
    async () => {
      const hostile = await startTemplate('python', [script('leaves.py', LEAVES_OUT_FILTER)]);
      await expect(start(hostile, hello)).rejects.toMatchObject({
        code: 'SANDBOX_UNAVAILABLE',
        details: { stage: 'verify', errno: 'EPERM' },
      });
    },
  );
});
