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
});
