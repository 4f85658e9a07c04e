// The binding: operations by number, events back by number. Nobody but sandbox.ts uses it.
import { CloveError, type ErrorCode, isErrorCode } from '../errors/index.ts';
import { initPath, loadAddon } from './load.ts';
import { hintFor, isPassing } from './sandbox-hints.ts';
import type { SandboxStats } from './types.ts';

/** What `launch` of the addon takes; -1 stands for "no limit", '' for absent text. */
export interface NativeLaunch {
  readonly instance: string;
  readonly hostname: string;
  readonly cgroupParent: string;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly searchPath: string;
  readonly passwd: string;
  readonly group: string;
  readonly hosts: string;
  readonly resolv: string;
  readonly nsswitch: string;
  readonly localtime: string;
  readonly uid: number;
  readonly gid: number;
  readonly memoryBytes: number;
  readonly swapBytes: number;
  readonly cpuQuotaUs: number;
  readonly cpuPeriodUs: number;
  readonly cpuShares: number;
  readonly maxPids: number;
  readonly cpus: string;
  readonly fileSizeBytes: number;
  readonly maxOpenFiles: number;
  readonly tmpfsBytes: number;
  readonly tmpfsInodes: number;
  /** `tree`: a detached mount in place of the source; -1 = none. */
  readonly mounts: readonly { source: string; target: string; readonly: boolean; tree: number }[];
  /** -1 = the sandbox gets its own. */
  readonly netns: number;
  readonly profile: 0 | 1 | 2;
  readonly hostNetwork: boolean;
  readonly require: readonly string[];
  readonly disable: readonly string[];
  readonly faultStep: string;
  readonly faultErrno: number;
  readonly setupTimeoutMs: number;
  /** Per standard stream: -1 = /dev/null, -2 = pipe, else a descriptor to duplicate. */
  readonly stdio: readonly [number, number, number];
  /** 0 = started as a program, 1 = a template, 2 = forked from one. */
  readonly role: 0 | 1 | 2;
  /** Of role 2, else 0. */
  readonly templateChannel: number;
  readonly templateUid: number;
  readonly templateGid: number;
  readonly spares: number;
}

export interface NativeProgram {
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly searchPath: string;
  readonly stdinPipe: boolean;
  /** 0 = none. */
  readonly timeoutMs: number;
}

export interface NativeHost {
  readonly kernelRelease: string;
  readonly cgroup: string;
  readonly cgroupControllers: string;
  readonly cgroup2Path: string;
  readonly landlockAbi: number;
  readonly seccomp: boolean;
  readonly userNamespaces: boolean;
  readonly namespaces: string;
  /** '' = none. */
  readonly namespacesError: string;
  readonly pivotRoot: boolean;
  readonly clone3: boolean;
}

interface NativeFailure {
  readonly code: string;
  readonly message: string;
  readonly stage: string;
  readonly syscall: string;
  readonly layer: string;
  readonly detail: string;
  readonly errno: string;
}

/** See native/addon/world_napi.cc; promises reject with {errno, step}. */
export interface WorldFace {
  makeNetwork(
    address4: string,
    address6: string,
    ports: readonly number[],
  ): Promise<{
    readonly space: number;
    readonly link: number;
    readonly any: number;
    readonly dnsTcp: number;
    readonly dnsUdp: number;
    readonly listeners: readonly (readonly [port: number, fd: number])[];
    readonly reason: string;
  }>;
  connectInside(space: number, address: string, port: number, timeoutMs: number): Promise<number>;
  makeFiles(
    layers: readonly string[],
    bytes: number,
    inodes: number,
  ): Promise<{
    readonly space: number;
    readonly root: number;
    readonly upper: number;
    readonly store: number;
  }>;
  copyTrees(space: number, root: number, paths: readonly string[]): Promise<number[]>;
  walk(folder: number, most: number): Promise<WalkRow[]>;
  walkNow(folder: number, most: number): WalkRow[] | number;
  resize(store: number, bytes: number, inodes: number): number;
  openIn(folder: number, path: string, flags: number, mode: number, follow: boolean): number;
  change(what: string, folder: number, name: string, ...values: (string | number)[]): number;
  share(folder: number): number;
}

export type WalkRow = readonly [
  path: Buffer,
  mode: number,
  uid: number,
  gid: number,
  size: number,
  modifiedNs: bigint,
  target: Buffer,
  flags: number,
  inode: number,
  links: number,
  changedNs: bigint,
];

export function worldFace(): WorldFace {
  return (loadAddon() as unknown as { world: WorldFace }).world;
}

interface SandboxFace {
  start(initPath: string, handler: (op: number, failed: boolean, value: unknown) => void): void;
  hold(on: boolean): void;
  launch(op: number, exitOp: number, request: NativeLaunch): number;
  kill(id: number, timeout: boolean): void;
  signal(id: number, signal: number): void;
  freeze(id: number, op: number, frozen: boolean): void;
  exec(id: number, op: number, exitOp: number, program: NativeProgram): void;
  execKill(id: number, op: number, signal: number): void;
  open(id: number, op: number, path: string, flags: number, mode: number, truncate: boolean): void;
  openGroups(op: number, path: string): void;
  reconcile(op: number, path: string): void;
  pool(op: number, cgroupParent: string, size: number): void;
  poolOf(op: number, cgroupParent: string): void;
  endSpares(templateUid: number): void;
  furnish(request: NativeLaunch): void;
  unfurnish(cgroupParent: string, uid: number): void;
  stats(id: number): SandboxStats | null;
  host(): NativeHost;
  policy(debug: boolean): string;
  channel(): [number, number] | null;
  names(): [layers: string[], steps: string[]];
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: CloveError): void;
}

let face: SandboxFace | null = null;
const pending = new Map<number, Pending>();
let lastOp = 0;

export function sandboxFace(): SandboxFace {
  if (face === null) {
    const addon = loadAddon() as unknown as { sandbox: SandboxFace };
    addon.sandbox.start(initPath(), settle);
    face = addon.sandbox;
  }
  return face;
}

function settle(op: number, failed: boolean, value: unknown): void {
  const waiting = pending.get(op);
  if (waiting === undefined) return;
  forget(op);
  if (failed) waiting.reject(errorOf(value as NativeFailure));
  else waiting.resolve(value);
}

/** An operation under way; the event loop lives while there is one. */
export function begin<T>(): { readonly op: number; readonly done: Promise<T> } {
  lastOp = (lastOp % 0x7fffffff) + 1;
  const op = lastOp;
  if (pending.size === 0) sandboxFace().hold(true);
  const done = new Promise<T>((resolve, reject) => {
    pending.set(op, { resolve: resolve as (value: unknown) => void, reject });
  });
  return { op, done };
}

/** Drops an operation that will never be answered: its promise stays unsettled. */
export function forget(op: number): void {
  if (pending.delete(op) && pending.size === 0) sandboxFace().hold(false);
}

function errorOf({ code: name, message, stage, syscall, layer, detail, errno }: NativeFailure): CloveError {
  if (stage === '') {
    const code: ErrorCode = isErrorCode(name) ? name : 'INTERNAL';
    return new CloveError(code, errno === '' ? message : `${message}: ${errno}`, {
      details: errno === '' ? {} : { errno },
    });
  }
  const details = { stage, syscall, errno, layer: layer === '' ? null : layer, detail };
  if (errno === 'ECANCELED')
    return new CloveError('CANCELLED', 'killed during the setup of the sandbox', { details });
  if (name === 'EXEC_FAILED') {
    return new CloveError('EXEC_FAILED', `cannot execute ${detail}: ${errno}`, {
      details,
      ...hintFor(stage, errno, layer),
    });
  }
  const what = detail === '' ? '' : ` (${detail})`;
  return new CloveError(
    'SANDBOX_UNAVAILABLE',
    `no sandbox: step ${stage}, ${syscall}${what}: ${errno}; nothing ran`,
    {
      details: isPassing(stage, errno) ? { ...details, retriable: true } : details,
      ...hintFor(stage, errno, layer),
    },
  );
}
