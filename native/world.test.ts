import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createServer as createTcpServer, Socket } from 'node:net';
import path from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  changeIn,
  ensureNative,
  makeWorldNetwork,
  makeWorldTree,
  openIn,
  shareFolder,
  walkTree,
} from './index.ts';
import { cleanUp, openDescriptors, shell, temporaryFolder } from './sandbox-testing.ts';
import type { SandboxWorld } from './types.ts';
import type { WorldNetworkSpace, WorldTree } from './world.ts';

const isRoot = process.geteuid?.() === 0;
const cleanups: (() => unknown)[] = [];

beforeAll(async () => {
  await ensureNative();
});
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
  await cleanUp();
});

function world(parts: Partial<SandboxWorld>): SandboxWorld {
  return { netnsFd: null, trees: [], resolv: null, hosts: null, layers: {}, ...parts };
}

async function makeNetwork(): Promise<WorldNetworkSpace> {
  const network = await makeWorldNetwork({ address4: '10.77.0.1', address6: 'fd77::1', ports: [80, 8080] });
  cleanups.push(() => {
    network.close();
    for (const fd of [network.dnsTcpFd, network.dnsUdpFd]) closeSync(fd);
  });
  return network;
}

/** Answers with the address that was dialled. */
async function serve(network: WorldNetworkSpace): Promise<Server[]> {
  const servers = (network.anyFd === null ? network.listeners.map(([, fd]) => fd) : [network.anyFd]).map(
    (fd) =>
      createServer((request, response) => {
        response.end(`${request.socket.localAddress} ${request.socket.localPort}\n`);
      }).listen({ fd }),
  );
  cleanups.push(() => Promise.all(servers.map((server) => new Promise((done) => server.close(done)))));
  return servers;
}

async function makeTree(files: Record<string, string>, bytes = 2 ** 20, inodes = 64): Promise<WorldTree> {
  const layer = temporaryFolder();
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(path.join(layer, path.dirname(name)), { recursive: true });
    chmodSync(path.join(layer, path.dirname(name)), 0o777);
    writeFileSync(path.join(layer, name), content);
    chmodSync(path.join(layer, name), 0o666);
  }
  const tree = await makeWorldTree({ layers: [layer], bytes, inodes });
  cleanups.push(() => tree.close());
  return tree;
}

describe.runIf(isRoot)('the network of a world', () => {
  it('answers for every address of both families, and leads nowhere else', async () => {
    const host = createTcpServer(() => {
      throw new Error('somebody reached the host');
    });
    await new Promise<void>((done) => host.listen(0, '0.0.0.0', done));
    cleanups.push(() => new Promise((done) => host.close(done)));
    const { port } = host.address() as { port: number };
    const network = await makeNetwork();
    await serve(network);
    const { stdout } = await shell(
      `for url in http://93.184.216.34 'http://[2001:db8::1]:8080' http://169.254.169.254; do curl -sS --max-time 20 "$url/"; done
       curl -s --max-time 20 http://127.0.0.1:${port}/ || echo refused $?
       curl -s --max-time 20 http://10.77.0.1:${port}/ || echo refused $?
       cat /proc/net/route | wc -l`,
      { world: world({ netnsFd: network.netnsFd, layers: { netns: 'a network of a world' } }) },
    );
    expect(stdout.trim().split('\n')).toEqual([
      '::ffff:93.184.216.34 80',
      '2001:db8::1 8080',
      '::ffff:169.254.169.254 80',
      'refused 7',
      'refused 7',
      '1',
    ]);
  });

  it('lets this process reach what an agent listens on', async () => {
    const network = await makeNetwork();
    await expect(network.connect('127.0.0.1', 5000, 1000)).rejects.toMatchObject({
      code: 'IO',
      details: { errno: 'ECONNREFUSED' },
    });
    const running = shell(
      `python3 -c "import socket; s = socket.create_server(('0.0.0.0', 5000)); c, _ = s.accept(); c.sendall(b'hello'); c.close()"`,
      { world: world({ netnsFd: network.netnsFd }) },
    );
    let fd = -1;
    await expect
      .poll(
        async () => {
          fd = await network.connect('10.77.0.1', 5000, 1000).catch(() => -1);
          return fd;
        },
        { timeout: 30_000 },
      )
      .toBeGreaterThan(0);
    const socket = new Socket({ fd });
    let heard = '';
    for await (const chunk of socket) heard += String(chunk);
    expect(heard).toBe('hello');
    expect((await running).exitCode).toBe(0);
    network.close();
    await expect(network.connect('127.0.0.1', 5000, 1000)).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});

describe.runIf(isRoot)('the files of a world', () => {
  it('are written to by agents, within their size; the layer below stays as it is', async () => {
    const tree = await makeTree({ 'app/config': 'old\n', 'app/gone': 'x', 'top/deep/file': '1' });
    const [folder = -1] = [openIn(tree.rootFd, 'app', { flags: constants.O_RDONLY, follow: false })];
    expect(shareFolder(folder)).toBe(true);
    closeSync(folder);
    const trees = await tree.copy(['app', 'top/deep']);
    const outcome = await shell(
      `cat /app/config; umask 077; echo new > /app/config; rm /app/gone; mkdir /app/sub; touch /app/sub/y /app/mine; ln -s /etc/shadow /app/link
       stat -c '%a' /app/mine /app/sub; touch /deep/no 2>/dev/null || echo read-only
       dd if=/dev/zero of=/app/big bs=1M count=4 2>/dev/null || echo full; rm /app/big; grep -c overlay /proc/self/mountinfo; grep overlay /proc/self/mountinfo | grep -c ${path.dirname(temporaryFolder())}`,
      {
        world: world({
          trees: [
            { treeFd: trees[0] as number, target: '/app', readonly: false },
            { treeFd: trees[1] as number, target: '/deep', readonly: true },
          ],
        }),
      },
    );
    for (const fd of trees) closeSync(fd);
    expect(outcome.stdout.trim().split('\n')).toEqual(['old', '666', '777', 'read-only', 'full', '2', '0']);
    const written = await walkTree(tree.upperFd, 1000);
    const paths = written.map(
      ({ path: name, whiteout, target }) =>
        `${name}${whiteout ? ' deleted' : ''}${target === '' ? '' : ` -> ${target}`}`,
    );
    expect(paths.sort()).toEqual([
      'app',
      'app/config',
      'app/gone deleted',
      'app/link -> /etc/shadow',
      'app/mine',
      'app/sub',
      'app/sub/y',
    ]);
    const fd = openIn(tree.rootFd, 'app/config', { flags: constants.O_RDONLY, follow: true });
    expect(readFileSync(fd, 'utf8')).toBe('new\n');
    closeSync(fd);
    // The link leads to the world's own /etc, which it has not.
    expect(() => openIn(tree.rootFd, 'app/link', { flags: constants.O_RDONLY, follow: true })).toThrow(
      /ENOENT/,
    );
    expect(() => openIn(tree.rootFd, 'app/link', { flags: constants.O_RDONLY, follow: false })).toThrow(
      /ELOOP/,
    );
    expect(() =>
      openIn(tree.rootFd, '../../etc/passwd', { flags: constants.O_RDONLY, follow: false }),
    ).toThrow(/EXDEV/);
    await expect(walkTree(tree.upperFd, 3)).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
  });

  it('are changed by name only', async () => {
    const tree = await makeTree({ 'a/file': '1' });
    const folder = openIn(tree.rootFd, 'a', { flags: constants.O_RDONLY, follow: false });
    changeIn(folder, 'sub', ['mkdir', 0o755]);
    changeIn(folder, 'file', ['rename', folder, 'renamed']);
    changeIn(folder, 'link', ['symlink', '/anywhere']);
    changeIn(folder, 'renamed', ['chown', 1234, 5678]);
    for (const name of ['', '.', '..', 'sub/x', '../x'])
      expect(() => changeIn(folder, name, ['mkdir', 0o755])).toThrow();
    expect(() => changeIn(folder, 'sub', ['mkdir', 0o755])).toThrow(/EEXIST/);
    const names = (await walkTree(folder, 10)).map(({ path: name, uid }) => `${name} ${uid}`);
    expect(names.sort()).toEqual(['link 0', 'renamed 1234', 'sub 0']);
    changeIn(folder, 'sub', ['rmdir']);
    changeIn(folder, 'link', ['unlink']);
    expect((await walkTree(folder, 10)).map(({ path: name }) => name)).toEqual(['renamed']);
    closeSync(folder);
  });

  it('leave nothing behind, and refuse what is no folder of their own', async () => {
    const before = openDescriptors();
    const layer = temporaryFolder();
    symlinkSync(layer, path.join(layer, 'link'));
    for (const bad of ['/proc', path.join(layer, 'link'), path.join(layer, 'none')]) {
      await expect(makeWorldTree({ layers: [bad], bytes: 65_536, inodes: 8 })).rejects.toMatchObject({
        code: 'SANDBOX_UNAVAILABLE',
      });
    }
    const tree = await makeWorldTree({ layers: [layer], bytes: 65_536, inodes: 8 });
    await expect(tree.copy(['none'])).rejects.toMatchObject({ code: 'IO', details: { errno: 'ENOENT' } });
    await expect(tree.copy(['link'])).rejects.toMatchObject({ details: { errno: 'ELOOP' } });
    expect(fstatSync(tree.upperFd).isDirectory()).toBe(true);
    tree.close();
    expect(openDescriptors()).toBe(before);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain('upperdir=/upper');
  });
});
