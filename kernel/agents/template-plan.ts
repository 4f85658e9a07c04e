import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import type { ZygoteRuntime } from '../../native/index.ts';
import type { SandboxMount } from '../../native/types.ts';
import type { Isolation } from './isolation.ts';
import type { SpawnRequest } from './spawn-request.ts';

const MIB = 2 ** 20;
const MAX_MODULES = 64;
const path = z
  .string()
  .max(4095)
  .refine((value) => value.startsWith('/') && !value.includes('\0'), 'must be an absolute path');
const modules = z.array(z.string().min(1).max(4095)).max(MAX_MODULES);

/** What an operator declares: a process that has loaded these, from which the agent is forked. */
export const templateRequest = z.strictObject({
  runtime: z.enum(['node', 'python']),
  preload: modules.nullish().describe('modules by name or absolute path, loaded once for all'),
  warm_up: modules
    .nullish()
    .describe('of these warmUp() (Python: warm_up()) is called once, so that agents start with hot code'),
  mounts: z
    .array(z.strictObject({ source: path, target: path }))
    .max(32)
    .nullish()
    .describe('what it has to read for that, read-only; agents see only their own mounts'),
  memory: z
    .int()
    .min(32 * MIB)
    .max(2 ** 50)
    .nullish()
    .describe('bytes; default 1 GiB'),
});

export type TemplateRequest = z.output<typeof templateRequest>;

/** All that a template is made from. Equal ones are the same template, others never share one. */
export interface TemplateSpec {
  /** Who declared it: agents of others never start from it. */
  readonly owner: string;
  readonly runtime: ZygoteRuntime;
  readonly executable: string;
  readonly flags: readonly string[];
  readonly preload: readonly string[];
  readonly warmUp: readonly string[];
  readonly mounts: readonly SandboxMount[];
  readonly env: Readonly<Record<string, string>>;
  readonly memoryBytes: number;
}

/** How an agent is to be started from a template; `spec` null = it cannot, for `reason`. */
export type TemplateUse =
  | { readonly spec: TemplateSpec; readonly argv: readonly string[]; readonly reason: null }
  | { readonly spec: null; readonly reason: string };

/** What the plan of a program knows of its interpreter. */
export interface ForkableProgram {
  readonly runtime: ZygoteRuntime;
  readonly executable: string;
  readonly flags: readonly string[];
  readonly mounts: readonly SandboxMount[];
  readonly env: Readonly<Record<string, string>>;
  /** As the agent sees it, without the interpreter's own flags. */
  readonly argv: readonly string[];
}

const DEFAULT_MEMORY_BYTES = 1024 * MIB;
/** An interpreter looks at these when it starts, and a template has started already. */
const STARTUP_VARIABLE = /^(LD_|NODE_|PYTHON|OPENSSL_|UV_|MALLOC_|GLIBC_|OMP_|OPENBLAS_|MKL_)/;
/** What every agent of a template has: a layer that is left out could not be left out for one alone. */
const MAX_OPEN_FILES = 4096;

/**
 * Judges a request for a template. What makes no sense is an error; what cannot be had makes the agent start as a program, and the
 * answer says why. @throws BAD_REQUEST
 */
export function templateUse(
  request: SpawnRequest,
  program: ForkableProgram | null,
  isolation: Isolation,
  context: { readonly templateOwner?: string; readonly searchPath: string },
): TemplateUse | null {
  const { template } = request;
  if (template == null) return null;
  if (program === null) {
    throw new CloveError('BAD_REQUEST', 'invalid request: template: needs a script, for Node or Python', {
      hint: 'Give script in place of command: a template runs files, not command lines.',
    });
  }
  if (program.runtime !== template.runtime) {
    throw new CloveError(
      'BAD_REQUEST',
      `invalid request: template: the script is for ${program.runtime}, not for ${template.runtime}`,
    );
  }
  const reason = whyNot(request, isolation, context.templateOwner);
  if (reason !== null) return { spec: null, reason };
  const mounts = [
    ...program.mounts,
    ...(template.mounts ?? []).map((mount) => ({ ...mount, readonly: true })),
  ];
  return {
    spec: {
      owner: context.templateOwner as string,
      runtime: program.runtime,
      executable: program.executable,
      flags: program.flags,
      preload: template.preload ?? [],
      warmUp: template.warm_up ?? [],
      mounts,
      env: { PATH: context.searchPath, HOME: '/tmp', LANG: 'C.UTF-8', ...program.env },
      memoryBytes: template.memory ?? DEFAULT_MEMORY_BYTES,
    },
    argv: program.argv,
    reason: null,
  };
}

function whyNot(request: SpawnRequest, isolation: Isolation, owner: string | undefined): string | null {
  if (owner === undefined) return 'it is started again by the kernel, which does not know whose it was';
  if (request.network === true) return 'it has the host’s network';
  if (isolation.disable.length > 0) return `it is without the layer ${isolation.disable[0]}`;
  if (isolation.profile === 'debug') return 'the profile debug allows what no template has';
  if ((request.limits?.open_files ?? 0) > MAX_OPEN_FILES)
    return `a template has ${MAX_OPEN_FILES} open files`;
  const variable = Object.keys(request.env ?? {}).find((name) => STARTUP_VARIABLE.test(name));
  return variable === undefined ? null : `${variable} only counts when an interpreter starts`;
}
