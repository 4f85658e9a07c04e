// From the plain value of a sandbox to what the addon takes: everything is checked here, once.
import { readFileSync, readlinkSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { CloveError } from '../errors/index.ts';
import { type NativeLaunch, type NativeProgram, sandboxFace } from './sandbox-native.ts';
import { LAYERS, type SandboxExecSpec, type SandboxMount, type SandboxSpec } from './types.ts';

const DEFAULT_SEARCH_PATH = '/usr/local/bin:/usr/bin:/bin';
const MAX_MOUNTS = 63;
const MAX_PATH_BYTES = 4095;
const PROFILES = { strict: 0, default: 1, debug: 2 } as const;

function refuse(message: string): never {
  throw new CloveError('BAD_REQUEST', message);
}

function requireText(what: string, value: unknown, pattern: RegExp): void {
  if (typeof value !== 'string' || !pattern.test(value))
    refuse(`${what} must match ${pattern}: ${JSON.stringify(value)}`);
}

/** A whole number in a range; null (where allowed) becomes -1. */
function wholeNumber(what: string, value: number | null, min: number, max: number, nullable = false): number {
  if (value === null && nullable) return -1;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
    refuse(`${what} must be a whole number from ${min} to ${max}: ${value}`);
  }
  return value;
}

/** Text that the operating system takes: no NUL, and no lone surrogate that would change on the way. */
function osText(what: string, value: unknown): string {
  if (typeof value !== 'string' || value.includes('\0') || !value.isWellFormed())
    refuse(`${what} must be text without NUL`);
  return value;
}

function absolutePath(what: string, value: unknown): string {
  const text = osText(what, value);
  if (!text.startsWith('/') || Buffer.byteLength(text) > MAX_PATH_BYTES)
    refuse(`${what} must be an absolute path: ${JSON.stringify(text)}`);
  return text;
}

function programOf(what: string, spec: Pick<SandboxExecSpec, 'argv' | 'env' | 'cwd'>) {
  if (!Array.isArray(spec.argv) || spec.argv.length === 0) refuse(`${what}.argv must name a program`);
  const argv = spec.argv.map((argument, index) => osText(`${what}.argv[${index}]`, argument));
  if (argv[0] === '') refuse(`${what}.argv[0] is empty`);
  const env = Object.entries(spec.env).map(([name, value]) => {
    if (name === '' || name.includes('='))
      refuse(`${what}.env has an impossible name: ${JSON.stringify(name)}`);
    return `${osText(`${what}.env name`, name)}=${osText(`${what}.env.${name}`, value)}`;
  });
  return {
    argv,
    env,
    cwd: absolutePath(`${what}.cwd`, spec.cwd),
    searchPath: spec.env.PATH ?? DEFAULT_SEARCH_PATH,
  };
}

/** Places the sandbox fills itself; a mount there would undo a layer. */
const RESERVED = ['proc', 'dev', 'sys'];

function targetOf(what: string, target: string): string {
  const parts = absolutePath(`${what}.target`, target).slice(1).split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..' || Buffer.byteLength(part) > 255)) {
    refuse(`${what}.target must be a plain absolute path: ${JSON.stringify(target)}`);
  }
  if (RESERVED.includes(parts[0] ?? '')) refuse(`${what}.target may not be below /${parts[0]}`);
  return parts.join('/');
}

function mountOf({ source, target, readonly }: SandboxMount, index: number): NativeLaunch['mounts'][number] {
  const what = `mounts[${index}]`;
  return {
    source: absolutePath(`${what}.source`, source),
    target: targetOf(what, target),
    readonly: readonly === true,
    tree: -1,
  };
}

/** What of a world is mounted, before everything else. */
function treesOf({ world }: SandboxSpec): NativeLaunch['mounts'][number][] {
  return (world?.trees ?? []).map(({ treeFd, target, readonly }, index) => ({
    source: '',
    target: targetOf(`world.trees[${index}]`, target),
    readonly,
    tree: wholeNumber(`world.trees[${index}].treeFd`, treeFd, 0, 2 ** 31 - 1),
  }));
}

function stdioOf(what: string, value: null | number | 'pipe'): number {
  if (value === 'pipe') return -2;
  return value === null ? -1 : wholeNumber(what, value, 0, 2 ** 31 - 1);
}

/** The folder of the socket is the kernel's own, so its links may be followed; the socket itself may not be one. */
function withRealFolder(file: string): string {
  try {
    return path.join(realpathSync(path.dirname(file)), path.basename(file));
  } catch {
    return file; // the launch names what is missing
  }
}

let zone: string | null = null;

/** Where /etc/localtime points on this host, when it is a link. */
function localtimeTarget(): string {
  if (zone === null) {
    try {
      zone = readlinkSync('/etc/localtime');
      if (!zone.startsWith('/usr/')) zone = '';
    } catch {
      zone = '';
    }
  }
  return zone;
}

function hostResolver(): string {
  try {
    return readFileSync('/etc/resolv.conf', 'utf8');
  } catch {
    return '';
  }
}

function accountFiles({ hostname, uid, gid, network, world }: SandboxSpec) {
  return {
    passwd: `root:x:0:0:root:/nonexistent:/usr/sbin/nologin\nagent:x:${uid}:${gid}:agent:/work:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n`,
    group: `root:x:0:\nagent:x:${gid}:\nnogroup:x:65534:\n`,
    hosts: `127.0.0.1 localhost ${hostname}\n::1 localhost ${hostname}\n${osText('world.hosts', world?.hosts ?? '')}`,
    resolv:
      network === 'host' ? hostResolver() : osText('world.resolv', world?.resolv ?? 'nameserver 127.0.0.1\n'),
    nsswitch:
      'passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n',
    localtime: localtimeTarget(),
  };
}

function limitsOf({ limits }: SandboxSpec) {
  const max = Number.MAX_SAFE_INTEGER;
  if (limits.cpus !== null)
    requireText('limits.cpus', limits.cpus, /^\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*$/);
  if (limits.swapBytes !== null && limits.swapBytes > 0 && limits.memoryBytes === null) {
    refuse('limits.swapBytes needs limits.memoryBytes');
  }
  return {
    memoryBytes: wholeNumber('limits.memoryBytes', limits.memoryBytes, 1 << 20, max, true),
    swapBytes: wholeNumber('limits.swapBytes', limits.swapBytes, 0, max, true),
    cpuQuotaUs: wholeNumber('limits.cpuQuotaUs', limits.cpuQuotaUs, 1000, 1e12, true),
    cpuPeriodUs: wholeNumber('limits.cpuPeriodUs', limits.cpuPeriodUs, 1000, 1_000_000),
    cpuShares: wholeNumber('limits.cpuShares', limits.cpuShares, 2, 262_144, true),
    cpus: limits.cpus ?? '',
    // PID 1 and the agent are two already.
    maxPids: wholeNumber('limits.maxPids', limits.maxPids, 2, 4_194_304, true),
    fileSizeBytes: wholeNumber('limits.fileSizeBytes', limits.fileSizeBytes, 0, max, true),
    maxOpenFiles: wholeNumber('limits.maxOpenFiles', limits.maxOpenFiles, 16, 1 << 20),
    tmpfsBytes: wholeNumber('limits.tmpfsBytes', limits.tmpfsBytes, 4096, max),
    tmpfsInodes: wholeNumber('limits.tmpfsInodes', limits.tmpfsInodes, 16, 2 ** 31 - 1),
  };
}

/** Each holds a copy of its template's page tables, and a sandbox. */
const MAX_SPARES = 16;

/** What a template cannot give: it made its own choice of these for all of its agents. */
const NEEDED_BY_FORKED = ['uid', 'pidns', 'mntns', 'fds', 'env'] as const;

function zygoteOf(
  spec: SandboxSpec,
): Pick<NativeLaunch, 'role' | 'templateChannel' | 'templateUid' | 'templateGid' | 'spares'> {
  const { zygote = null } = spec;
  const nothing = { templateChannel: 0, templateUid: 0, templateGid: 0, spares: 0 };
  if (zygote === null) return { role: 0, ...nothing };
  if (zygote.role === 'template') return { role: 1, ...nothing };
  const missing = NEEDED_BY_FORKED.find((layer) => spec.disable.includes(layer));
  if (missing !== undefined) refuse(`an agent of a template cannot be without the layer ${missing}`);
  return {
    role: 2,
    templateChannel: wholeNumber('zygote.channelFd', zygote.channelFd, 0, 2 ** 31 - 1),
    templateUid: wholeNumber('zygote.uid', zygote.uid, 1, 2 ** 32 - 2),
    templateGid: wholeNumber('zygote.gid', zygote.gid, 1, 2 ** 32 - 2),
    spares: wholeNumber('zygote.spares', zygote.spares ?? 0, 0, MAX_SPARES),
  };
}

/** In place of an errno: this process ends at that step as by kill -9 (FAULT_DEATH of init/plan.h). */
const DEATH = 4095;
const DIE_ARGUMENT = 'clove-test-die-at';

/**
 * What a kernel leaves behind that dies in the middle of a setup can only be tried by dying there. Where its environment allows
 * it, a command that ends in "clove-test-die-at <step>" does that.
 */
function faultOf({ faultStep, faultErrno, argv }: SandboxSpec): { step: string | null; errno: number } {
  const isDeadly = process.env.CLOVE_TEST_DEATHS === '1' && argv.at(-2) === DIE_ARGUMENT;
  return isDeadly ? { step: argv.at(-1) as string, errno: DEATH } : { step: faultStep, errno: faultErrno };
}

/** @throws BAD_REQUEST naming the field that makes no sense. */
export function toNativeLaunch(spec: SandboxSpec): NativeLaunch {
  requireText('instance', spec.instance, /^[a-z0-9-]{1,64}$/);
  requireText('hostname', spec.hostname, /^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?$/);
  requireText(
    'cgroupParent',
    spec.cgroupParent,
    /^[a-z0-9][a-z0-9_-]{0,63}(\/[a-z0-9][a-z0-9_-]{0,63}){0,3}$/,
  );
  for (const layer of [...spec.require, ...spec.disable])
    if (!LAYERS.includes(layer)) refuse(`no layer is called ${layer}`);
  const torn = spec.require.find((layer) => spec.disable.includes(layer));
  if (torn !== undefined) refuse(`layer ${torn} is both required and left out`);
  if (!Object.hasOwn(PROFILES, spec.profile)) refuse(`no profile is called ${spec.profile}`);
  if (spec.network !== 'none' && spec.network !== 'host')
    refuse(`network must be none or host: ${spec.network}`);
  if (spec.network === 'host' && spec.require.includes('netns'))
    refuse('network host and the required layer netns exclude each other');
  const fault = faultOf(spec);
  if (fault.step !== null && !setupSteps().includes(fault.step))
    refuse(`no setup step is called ${fault.step}`);
  if (spec.network === 'host' && spec.world != null)
    refuse('an agent of a world cannot have the host’s network');
  const mounts = [...treesOf(spec), ...spec.mounts.map(mountOf)];
  if (mounts.length > MAX_MOUNTS) refuse(`more than ${MAX_MOUNTS} mounts`);
  if (spec.socketPath !== null) {
    const file = absolutePath('socketPath', spec.socketPath);
    mounts.push({ source: withRealFolder(file), target: 'run/clove.sock', readonly: true, tree: -1 });
  }
  const program = programOf('sandbox', spec);
  // What the request sets wins: of two entries of the same name programs take the first.
  const inherited = spec.disable.includes('env')
    ? Object.entries(process.env)
        .filter(([name]) => !Object.hasOwn(spec.env, name))
        .map(([name, value]) => `${name}=${value}`)
    : [];
  return {
    instance: spec.instance,
    hostname: spec.hostname,
    cgroupParent: spec.cgroupParent,
    ...program,
    env: [...inherited, ...program.env],
    ...accountFiles(spec),
    uid: wholeNumber('uid', spec.uid, 1, 2 ** 32 - 2),
    gid: wholeNumber('gid', spec.gid, 1, 2 ** 32 - 2),
    ...limitsOf(spec),
    mounts,
    profile: PROFILES[spec.profile],
    hostNetwork: spec.network === 'host',
    netns: wholeNumber('world.netnsFd', spec.world?.netnsFd ?? null, 0, 2 ** 31 - 1, true),
    require: spec.require,
    disable: spec.disable,
    faultStep: fault.step ?? '',
    faultErrno: wholeNumber('faultErrno', fault.errno, 0, DEATH),
    setupTimeoutMs: wholeNumber('setupTimeoutMs', spec.setupTimeoutMs, 1, 600_000),
    stdio: [stdioOf('stdin', spec.stdin), stdioOf('stdout', spec.stdout), stdioOf('stderr', spec.stderr)],
    ...zygoteOf(spec),
  };
}

/** @throws BAD_REQUEST */
export function toNativeProgram(spec: SandboxExecSpec): NativeProgram {
  return {
    ...programOf('exec', spec),
    stdinPipe: spec.stdin === 'pipe',
    timeoutMs: Math.max(0, wholeNumber('exec.timeoutMs', spec.timeoutMs, 1, 2 ** 31, true)),
  };
}

let steps: readonly string[] | null = null;

/** Names of every step of a spawn, in order: what `faultStep` takes and `details.stage` says. */
export function setupSteps(): readonly string[] {
  steps ??= Object.freeze(sandboxFace().names()[1]);
  return steps;
}
