import { randomInt } from 'node:crypto';
import path from 'node:path';
import { CloveError } from '../../errors/index.ts';
import type { SandboxMount } from '../../native/types.ts';
import { supervisionFault } from '../supervision/plan.ts';
import type { LaunchPlan } from './agent.ts';
import {
  INSIDE_PATH,
  type Interpreter,
  interpreterNameFor,
  isPython,
  resolveInterpreter,
} from './interpreter.ts';
import { resolveIsolation, type Sandboxing } from './isolation.ts';
import { resolveLimits } from './limits.ts';
import { DEFAULT_RESTART, type RestartOptions } from './restart-policy.ts';
import { copyScript, resolveScript, type ScriptPlace } from './script.ts';
import { PRELOAD, PYTHON_FOLDER, SDK_TARGET } from './sdk-stage.ts';
import type { SpawnRequest } from './spawn-request.ts';
import { type ForkableProgram, templateUse } from './template-plan.ts';

export const INSIDE_SOCKET = '/run/clove.sock';
export const INSIDE_HOME = '/work';
const DEFAULT_LOG_BYTES = 64 * 1024;
export const SETUP_TIMEOUT_MS = 5000;
/** The most that randomInt takes. */
const MAX_SEED = 2 ** 48 - 1;

export interface PlanContext {
  readonly agentId: number;
  readonly name: string;
  readonly sandboxing: Sandboxing;
  /** Host folder of this agent; made when something must be kept in it. */
  readonly stagingFolder: string;
  /** Host path of the agent's socket. */
  readonly socketPath: string;
  /** Host folder with the staged SDK; made on first use. */
  sdkFolder(): Promise<string>;
  /** The mounts of an interpreter, as every user can read them; absent = as they are. */
  readonly openMounts?: (mounts: readonly SandboxMount[]) => Promise<readonly SandboxMount[]>;
  /** Reads a script as whoever asks sees it; null = on the host. */
  readonly readScript?: ((script: string) => Promise<Uint8Array>) | null;
  /** CLOVE_SEED of an agent that had one before; absent = a new one. */
  readonly seed?: string;
  /** Whose templates it may be forked from; absent = nobody's. */
  readonly templateOwner?: string;
}

export interface Plan {
  readonly launch: LaunchPlan;
  readonly restart: RestartOptions;
  readonly script: ScriptPlace | null;
}

/** From a valid request to the plan of a sandbox: here the machine is looked at. @throws BAD_REQUEST, NOT_FOUND, PATH_REFUSED */
export async function makePlan(request: SpawnRequest, context: PlanContext): Promise<Plan> {
  const fault = supervisionFault(request);
  if (fault !== null) throw new CloveError('BAD_REQUEST', `invalid request: ${fault}`);
  const limits = resolveLimits(request.limits);
  const network = request.network === true ? 'host' : 'none';
  const sandboxing = request.sandboxed === false ? 'off' : context.sandboxing;
  const isolation = resolveIsolation(request, limits, network, sandboxing);
  const { ownFiles } = isolation;
  // On the host's own paths a mount can only open what lies there already, which Landlock does.
  const canOpen = ownFiles || !isolation.disable.includes('landlock');
  if (!ownFiles && request.mounts?.some(({ source, target }) => !canOpen || source !== target)) {
    throw new CloveError(
      'BAD_REQUEST',
      'invalid request: mounts need the mount namespace, which is left out; without it, source and target must be the same path, and Landlock on',
    );
  }
  const socketPath = ownFiles ? INSIDE_SOCKET : context.socketPath;
  const program = await resolveProgram(request, ownFiles, socketPath, context);
  const env = {
    PATH: ownFiles ? program.searchPath : (process.env.PATH ?? INSIDE_PATH),
    HOME: ownFiles ? INSIDE_HOME : '/tmp',
    LANG: 'C.UTF-8',
    CLOVE_SOCKET: socketPath,
    CLOVE_AGENT_NAME: context.name,
    CLOVE_AGENT_ID: String(context.agentId),
    // The luck of an agent that wants to be repeatable: a replay gives it the same.
    CLOVE_SEED: context.seed ?? String(randomInt(MAX_SEED)),
    ...program.env,
    ...request.env,
  };
  return {
    launch: {
      name: context.name,
      request,
      isScriptOfAgent: context.readScript != null && program.script?.mounted === 'copy',
      sandbox: {
        argv: program.argv,
        env,
        // On the host's paths Landlock opens the working directory: that cannot be the root.
        cwd: request.cwd ?? (ownFiles ? INSIDE_HOME : isolation.disable.includes('landlock') ? '/' : '/tmp'),
        limits,
        mounts: [...program.mounts, ...requestedMounts(request)],
        network,
        profile: isolation.profile,
        require: isolation.require,
        disable: isolation.disable,
        unavailable: isolation.unavailable,
        faultStep: null,
        faultErrno: 0,
        setupTimeoutMs: SETUP_TIMEOUT_MS,
      },
      stdin: request.stdin ?? null,
      template: templateUse(request, program.forkable, isolation, {
        ...context,
        searchPath: program.searchPath,
      }),
      timeoutMs: request.timeout_ms ?? null,
      logBytes: request.log_bytes ?? DEFAULT_LOG_BYTES,
    },
    restart: restartOptions(request),
    script: program.script,
  };
}

/** The plan of an agent that will be planned when it is started: what others have to know of it until then. */
export function pendingPlan(request: SpawnRequest, name: string): Plan {
  const limits = resolveLimits(request.limits);
  return {
    launch: {
      name,
      request,
      sandbox: {
        argv: [],
        env: {},
        cwd: request.cwd ?? INSIDE_HOME,
        limits,
        mounts: [],
        network: request.network === true ? 'host' : 'none',
        profile: 'default',
        require: [],
        disable: [],
        faultStep: null,
        faultErrno: 0,
        setupTimeoutMs: SETUP_TIMEOUT_MS,
      },
      stdin: request.stdin ?? null,
      timeoutMs: request.timeout_ms ?? null,
      logBytes: request.log_bytes ?? DEFAULT_LOG_BYTES,
    },
    restart: restartOptions(request),
    script: null,
  };
}

interface Program {
  readonly argv: readonly string[];
  readonly mounts: readonly SandboxMount[];
  readonly searchPath: string;
  readonly env: Readonly<Record<string, string>>;
  readonly script: ScriptPlace | null;
  /** What a template of its interpreter is made from; null = it cannot come from one. */
  readonly forkable: ForkableProgram | null;
}

async function resolveProgram(
  request: SpawnRequest,
  ownFiles: boolean,
  socketPath: string,
  context: PlanContext,
): Promise<Program> {
  const args = request.args ?? [];
  if (request.command != null) return commandProgram(request.command, args, ownFiles, context);
  if (request.script == null || request.script === '') {
    throw new CloveError('BAD_REQUEST', 'script path required', {
      hint: 'Name a script, or give argv as command.',
    });
  }
  const script =
    context.readScript == null
      ? await resolveScript(request.script, ownFiles, context.stagingFolder)
      : await copyScript(request.script, ownFiles, context.stagingFolder, context.readScript);
  const interpreter = await openInterpreter(
    context,
    request.python ?? interpreterNameFor(script.place.path),
    ownFiles,
  );
  const sdk = await sdkParts(interpreter, ownFiles, context);
  return {
    argv: [interpreter.executable, ...sdk.flags, script.place.path, socketPath, ...args],
    mounts: outermostFirst([...interpreter.mounts, ...sdk.mounts, ...script.mounts]),
    searchPath: interpreter.searchPath,
    env: sdk.env,
    script: script.place,
    forkable:
      ownFiles && (interpreter.isNode || interpreter.isPython)
        ? {
            runtime: interpreter.isNode ? 'node' : 'python',
            executable: interpreter.executable,
            flags: sdk.flags,
            mounts: [...interpreter.mounts, ...sdk.mounts],
            env: sdk.env,
            argv: [interpreter.executable, script.place.path, socketPath, ...args],
          }
        : null,
  };
}

/** argv as it is, with the SDK; only `node` by name means the kernel's own. */
async function commandProgram(
  command: readonly string[],
  args: readonly string[],
  ownFiles: boolean,
  context: PlanContext,
): Promise<Program> {
  const [name = '', ...rest] = command;
  if (name === '') throw new CloveError('BAD_REQUEST', 'invalid request: command: argv[0] is empty');
  if (name !== 'node') {
    const { mounts, env } = isPython(name) ? await pythonParts(ownFiles, context) : NO_PARTS;
    return {
      argv: [name, ...rest, ...args],
      mounts,
      searchPath: INSIDE_PATH,
      env,
      script: null,
      forkable: null,
    };
  }
  const interpreter = await openInterpreter(context, 'node', ownFiles);
  const node = await nodeParts(ownFiles, context);
  return {
    argv: [interpreter.executable, ...node.flags, ...rest, ...args],
    mounts: [...interpreter.mounts, ...node.mounts],
    searchPath: interpreter.searchPath,
    env: node.env,
    script: null,
    forkable: null,
  };
}

/** An environment inside the script's folder must not be covered by that folder. */
function outermostFirst(mounts: readonly SandboxMount[]): SandboxMount[] {
  const depth = ({ target }: SandboxMount) => target.split('/').length;
  return mounts.toSorted((a, b) => depth(a) - depth(b));
}

async function openInterpreter(context: PlanContext, name: string, ownFiles: boolean): Promise<Interpreter> {
  const interpreter = await resolveInterpreter(name, ownFiles);
  if (!ownFiles || context.openMounts === undefined || interpreter.mounts.length === 0) return interpreter;
  return { ...interpreter, mounts: await context.openMounts(interpreter.mounts) };
}

interface SdkParts {
  readonly flags: readonly string[];
  readonly mounts: readonly SandboxMount[];
  readonly env: Readonly<Record<string, string>>;
}
const NO_PARTS: SdkParts = { flags: [], mounts: [], env: {} };

async function sdkParts(
  { isNode, isPython }: Interpreter,
  ownFiles: boolean,
  context: PlanContext,
): Promise<SdkParts> {
  if (isNode) return nodeParts(ownFiles, context);
  return isPython ? pythonParts(ownFiles, context) : NO_PARTS;
}

async function nodeParts(ownFiles: boolean, context: PlanContext): Promise<SdkParts> {
  const { folder, mounts } = await sdkPlace(ownFiles, context);
  return { flags: ['--import', path.join(folder, PRELOAD)], mounts, env: {} };
}

/** The folder cannot be written inside: Python need not try to keep its byte code there. */
async function pythonParts(ownFiles: boolean, context: PlanContext): Promise<SdkParts> {
  const { folder, mounts } = await sdkPlace(ownFiles, context);
  const env = { PYTHONPATH: path.join(folder, PYTHON_FOLDER), PYTHONDONTWRITEBYTECODE: '1' };
  return { flags: [], mounts, env };
}

async function sdkPlace(
  ownFiles: boolean,
  context: PlanContext,
): Promise<{ readonly folder: string; readonly mounts: readonly SandboxMount[] }> {
  const source = await context.sdkFolder();
  if (!ownFiles) return { folder: source, mounts: [{ source, target: source, readonly: true }] };
  return { folder: SDK_TARGET, mounts: [{ source, target: SDK_TARGET, readonly: true }] };
}

function requestedMounts(request: SpawnRequest): SandboxMount[] {
  return (request.mounts ?? []).map(({ source, target, readonly }) => ({
    source,
    target,
    readonly: readonly ?? true,
  }));
}

export function restartOptions(request: SpawnRequest): RestartOptions {
  const backoffBaseMs = request.restart_backoff_ms ?? DEFAULT_RESTART.backoffBaseMs;
  return {
    policy: request.restart_policy ?? DEFAULT_RESTART.policy,
    maxRestarts: request.max_restarts ?? DEFAULT_RESTART.maxRestarts,
    windowMs: request.restart_window == null ? DEFAULT_RESTART.windowMs : request.restart_window * 1000,
    backoffBaseMs,
    backoffCapMs: request.restart_backoff_max_ms ?? Math.max(DEFAULT_RESTART.backoffCapMs, backoffBaseMs),
    stableMs: request.restart_stable_ms ?? DEFAULT_RESTART.stableMs,
    minUptimeMs: request.restart_min_uptime_ms ?? DEFAULT_RESTART.minUptimeMs,
  };
}
