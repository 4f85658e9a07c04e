// Networks and files of mounted worlds: namespaces and descriptors, no policy.
import { closeSync } from 'node:fs';
import { CloveError, type ErrorCode } from '../errors/index.ts';
import { type WalkRow, worldFace } from './sandbox-native.ts';

function unavailable(what: string, thrown: unknown): CloveError {
  const { errno, step } = thrown as { readonly errno: string; readonly step: string };
  const hint =
    errno === 'EPERM' || errno === 'EACCES'
      ? 'Mounted worlds need a kernel that runs as root and may make namespaces; virtual ones need nothing.'
      : undefined;
  return new CloveError('SANDBOX_UNAVAILABLE', `${what}: step ${step}: ${errno}`, {
    details: { stage: 'world', syscall: null, layer: null, step, errno },
    ...(hint === undefined ? {} : { hint }),
  });
}

function closeAll(fds: readonly number[]): void {
  for (const fd of fds) if (fd >= 0) closeSync(fd);
}

/** A network namespace with only lo, in which every IPv4 and IPv6 address is local, and its listening sockets. */
export interface WorldNetworkSpace {
  /** To be given to launches; the namespace lives while it or a process in it does. */
  readonly netnsFd: number;
  /** Takes connections to every port but those of loopback and of the own addresses; null = only `listeners` do. */
  readonly anyFd: number | null;
  /** Why there is no `anyFd`. */
  readonly reason: string | null;
  readonly listeners: readonly (readonly [port: number, fd: number])[];
  readonly dnsTcpFd: number;
  readonly dnsUdpFd: number;
  /** A connected TCP socket from this process to an address inside. @throws IO (details.errno) */
  connect(address: string, port: number, timeoutMs: number): Promise<number>;
  /** Closes what is still this object's own: the namespace and the program that catches connections. Sockets are their servers'. */
  close(): void;
}

/** @throws SANDBOX_UNAVAILABLE */
export async function makeWorldNetwork(options: {
  /** The agent's own: left to its own sockets. */
  readonly address4: string;
  readonly address6: string;
  /** For machines that cannot catch connections to every port. */
  readonly ports: readonly number[];
}): Promise<WorldNetworkSpace> {
  const face = worldFace();
  const made = await face
    .makeNetwork(options.address4, options.address6, options.ports)
    .catch((thrown: unknown) => {
      throw unavailable('no network of a world', thrown);
    });
  let open = true;
  return {
    netnsFd: made.space,
    anyFd: made.any < 0 ? null : made.any,
    reason: made.any < 0 ? made.reason : null,
    listeners: made.listeners,
    dnsTcpFd: made.dnsTcp,
    dnsUdpFd: made.dnsUdp,
    async connect(address, port, timeoutMs) {
      if (!open) throw new CloveError('CANCELLED', 'the network of the world is closed');
      return face.connectInside(made.space, address, port, timeoutMs).catch((thrown: unknown) => {
        const { errno } = thrown as { readonly errno: string };
        throw new CloveError('IO', `${address}:${port}: ${errno}`, { details: { errno } });
      });
    },
    close() {
      if (!open) return;
      open = false;
      closeAll([made.space, made.link]);
    },
  };
}

/** One entry of a tree as it lies there; links are not followed. */
export interface TreeEntry {
  /** Relative to the folder that was walked; parents come before children. */
  readonly path: string;
  /** The same when it is no UTF-8; else null. */
  readonly rawPath: Buffer | null;
  /** Type and permissions, as in stat. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly modifiedNs: bigint;
  /** Of content, mode or owner; nobody sets it to what it was. */
  readonly changedNs: bigint;
  /** Of a link, else ''. */
  readonly target: string;
  /** In an upper layer: the name is deleted. */
  readonly whiteout: boolean;
  /** In an upper layer: what the layers below have in this folder is hidden. */
  readonly opaque: boolean;
  readonly inode: number;
  readonly links: number;
}

function entryOf(row: WalkRow): TreeEntry {
  const [path, mode, uid, gid, size, modifiedNs, target, flags, inode, links, changedNs] = row;
  const text = path.toString('utf8');
  const rawPath = Buffer.from(text, 'utf8').equals(path) ? null : path;
  const whiteout = (flags & 1) !== 0;
  const opaque = (flags & 2) !== 0;
  return {
    path: text,
    rawPath,
    mode,
    uid,
    gid,
    size,
    modifiedNs,
    changedNs,
    target: target.toString('utf8'),
    whiteout,
    opaque,
    inode,
    links,
  };
}

/** An overlay that no process lives in: its layers, a sized upper layer, and descriptors to reach it by. */
export interface WorldTree {
  /** The merged tree, as agents see it (O_PATH). */
  readonly rootFd: number;
  /** What was written. */
  readonly upperFd: number;
  /** Detached copies of places (relative paths, no links), each for one launch; close them afterwards. @throws IO */
  copy(paths: readonly string[]): Promise<number[]>;
  /** How much the store takes from now on; 0 = as it is. @throws IO (EINVAL: more than that is in it) */
  resize(bytes: number, inodes: number): void;
  close(): void;
}

/** @throws SANDBOX_UNAVAILABLE */
export async function makeWorldTree(options: {
  /** Host folders, the uppermost first; at least one. Never written to, and not to be changed meanwhile. */
  readonly layers: readonly string[];
  /** Of what is written: bytes and inodes of a tmpfs. */
  readonly bytes: number;
  readonly inodes: number;
}): Promise<WorldTree> {
  const face = worldFace();
  const made = await face
    .makeFiles(options.layers, options.bytes, options.inodes)
    .catch((thrown: unknown) => {
      throw unavailable('no files of a world', thrown);
    });
  let open = true;
  return {
    rootFd: made.root,
    upperFd: made.upper,
    copy: (paths) =>
      face.copyTrees(made.space, made.root, paths).catch((thrown: unknown) => {
        const { errno, step } = thrown as { readonly errno: string; readonly step: string };
        throw new CloveError('IO', `${step}: ${errno}`, { details: { errno } });
      }),
    resize(bytes, inodes) {
      checked('the store of the world', face.resize(made.store, bytes, inodes));
    },
    close() {
      if (!open) return;
      open = false;
      closeAll([made.space, made.root, made.upper, made.store]);
    },
  };
}

/** Everything below an open folder. @throws PAYLOAD_TOO_LARGE, IO */
export async function walkTree(folderFd: number, most: number): Promise<TreeEntry[]> {
  const rows = await worldFace()
    .walk(folderFd, most)
    .catch((thrown: unknown) => {
      const { errno } = thrown as { readonly errno: string };
      if (errno === 'E2BIG') throw new CloveError('PAYLOAD_TOO_LARGE', `more than ${most} files`);
      throw new CloveError('IO', `the tree cannot be read: ${errno}`, { details: { errno } });
    });
  return rows.map(entryOf);
}

/** As walkTree, at once: for trees that are small. @throws PAYLOAD_TOO_LARGE, IO */
export function walkTreeNow(folderFd: number, most: number): TreeEntry[] {
  const rows = worldFace().walkNow(folderFd, most);
  if (typeof rows !== 'number') return rows.map(entryOf);
  if (rows === -7) throw new CloveError('PAYLOAD_TOO_LARGE', `more than ${most} files`);
  throw new CloveError('IO', `the tree cannot be read: errno ${-rows}`);
}

export interface OpenInOptions {
  /** open(2) flags. */
  readonly flags: number;
  readonly mode?: number;
  /** Whether links are followed (they never lead out of the folder); without, one on the way is an error. */
  readonly follow: boolean;
}

/** A descriptor of something below an open folder. @throws NOT_FOUND, PATH_REFUSED, CONFLICT, IO with details.errno */
export function openIn(folderFd: number, path: string, { flags, mode = 0, follow }: OpenInOptions): number {
  return checked(path, worldFace().openIn(folderFd, path, flags, mode, follow));
}

export type Change =
  | readonly ['mkdir', mode: number]
  | readonly ['unlink']
  | readonly ['rmdir']
  | readonly ['symlink', target: string]
  | readonly ['rename', toFolderFd: number, toName: string]
  | readonly ['chown', uid: number, gid: number];

/** Changes one name in an open folder; never through a link. @throws as openIn */
export function changeIn(folderFd: number, name: string, [what, ...values]: Change): void {
  checked(name, worldFace().change(what, folderFd, name, ...values));
}

/** Whatever is made in this folder from now on is for all to read and write, whatever their umask. False = the file system has no ACLs. */
export function shareFolder(folderFd: number): boolean {
  return worldFace().share(folderFd) === 0;
}

const CODES: Readonly<Record<number, readonly [name: string, code: ErrorCode]>> = {
  2: ['ENOENT', 'NOT_FOUND'],
  13: ['EACCES', 'FORBIDDEN'],
  17: ['EEXIST', 'CONFLICT'],
  18: ['EXDEV', 'PATH_REFUSED'],
  6: ['ENXIO', 'PATH_REFUSED'],
  20: ['ENOTDIR', 'PATH_REFUSED'],
  21: ['EISDIR', 'PATH_REFUSED'],
  22: ['EINVAL', 'IO'],
  28: ['ENOSPC', 'IO'],
  30: ['EROFS', 'IO'],
  39: ['ENOTEMPTY', 'CONFLICT'],
  40: ['ELOOP', 'PATH_REFUSED'],
};

function checked(path: string, result: number): number {
  if (result >= 0) return result;
  const [name, code] = CODES[-result] ?? [`errno ${-result}`, 'IO'];
  throw new CloveError(code, `${path}: ${name}`, { details: { errno: name } });
}
