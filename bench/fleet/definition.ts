/** Checks what a scenario's file exports before anything of it runs: people write these by hand. */
import { existsSync } from 'node:fs';
import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { spawnRequest } from '../../kernel/agents/spawn-request.ts';
import { agentCount, agentNames, memoryOf, scriptPath, spawnRequestOf } from './spawn.ts';
import type { FleetScenario } from './types.ts';

const MAX_AGENTS = 2000;

const isFunction = (value: unknown): boolean => typeof value === 'function';
const url = z.custom<URL>((value) => value instanceof URL, 'not a URL');
const name = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,47}$/, 'must be 1 to 48 of a-z 0-9 - and start with a letter');
const values = z.array(z.union([z.string(), z.number(), z.boolean()])).min(1);
const texts = z.array(z.string());
const wholeFrom1 = z.int().min(1);

const role = z.strictObject({
  title: z.string().min(1),
  program: z.union([
    z.strictObject({ script: z.union([z.string().min(1), url]), args: texts.optional() }),
    z.strictObject({ command: texts.min(1) }),
  ]),
  count: wholeFrom1.max(MAX_AGENTS).optional(),
  env: z.record(z.string(), z.string()).optional(),
  // The kernel's own schema looks at these, see below.
  limits: z.record(z.string(), z.unknown()),
  permissions: z.unknown().optional(),
  restart: z
    .strictObject({
      policy: z.enum(['never', 'always', 'on-failure']),
      maxRestarts: z.int().min(0).optional(),
      windowSeconds: z.number().min(0).optional(),
      backoffMs: z.int().min(0).optional(),
      backoffMaxMs: z.int().min(0).optional(),
    })
    .optional(),
  mounts: z.array(z.strictObject({ source: z.string(), target: z.string() })).optional(),
  timeoutMs: wholeFrom1.optional(),
});

const fault = z.strictObject({
  kind: z.enum(['kill', 'pause']),
  role: z.string(),
  count: wholeFrom1,
  betweenMs: z.tuple([z.number().min(0), z.number().min(0)]),
  forMs: z.number().positive().optional(),
});

const fleetSchema = z.strictObject({
  kind: z.literal('fleet'),
  name,
  title: z.string().min(1),
  description: z.string().min(1),
  version: z.string().min(1),
  roles: z.record(name, role),
  variants: z.record(z.string().min(1), values).optional(),
  seeds: wholeFrom1.max(100_000).optional(),
  budgets: z.strictObject({
    wallMs: wholeFrom1.max(2 ** 31 - 1),
    memoryBytes: wholeFrom1,
    agents: wholeFrom1.max(MAX_AGENTS),
  }),
  faults: z.array(fault).optional(),
  settings: z.record(z.string(), z.string()).optional(),
  metrics: z
    .array(
      z.strictObject({
        path: z.string().min(1),
        label: z.string().min(1),
        format: z.string(),
        higherIsBetter: z.boolean(),
      }),
    )
    .min(1),
  harmlessUnprotected: z.boolean().optional(),
  outside: z.custom(isFunction, 'must be a function').optional(),
  oracle: z.custom(isFunction, 'must be a function'),
});

/** Whether a module's export claims to be such a scenario. */
export function isFleet(value: unknown): value is FleetScenario {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'fleet';
}

/** Form, limits and permissions of every role, its script, the budgets. @throws CONFIG with all that is wrong */
export function validateFleet(definition: FleetScenario): void {
  const parsed = fleetSchema.safeParse(definition);
  const problems = parsed.success
    ? problemsOf(definition)
    : parsed.error.issues.map((issue) => `${issue.path.map(String).join('.') || '(root)'}: ${issue.message}`);
  if (problems.length === 0) return;
  const whose = typeof definition.name === 'string' ? definition.name : 'the scenario';
  throw new CloveError('CONFIG', `${whose}: ${problems[0]}`, {
    hint: 'docs/scenarios.md describes the form.',
    details: { problems },
  });
}

function problemsOf(definition: FleetScenario): string[] {
  const { roles, budgets, faults = [], variants = {}, settings = {} } = definition;
  const problems: string[] = [];
  if (Object.keys(roles).length === 0) problems.push('roles: there is none');
  const names = Object.entries(roles).flatMap(([key, { count = 1 }]) => agentNames(key, count));
  const twice = names.find((each, index) => names.indexOf(each) !== index);
  if (twice !== undefined) problems.push(`roles: two agents would be named ${twice}`);
  for (const [key, role] of Object.entries(roles)) {
    const request = spawnRequest.safeParse(spawnRequestOf(key, role, { seed: 0, isProtected: true }));
    for (const issue of request.error?.issues ?? [])
      problems.push(`roles.${key}: ${issue.path.map(String).join('.')}: ${issue.message}`);
    if ('script' in role.program && !existsSync(scriptPath(role.program.script)))
      problems.push(`roles.${key}.program.script: there is no file ${scriptPath(role.program.script)}`);
    if (definition.harmlessUnprotected === true && (role.mounts?.length ?? 0) > 0)
      problems.push(`roles.${key}.mounts: an unprotected agent can have none`);
  }
  for (const [index, fault] of faults.entries()) {
    if (roles[fault.role] === undefined)
      problems.push(`faults[${index}].role: there is no role ${fault.role}`);
    if (fault.betweenMs[0] > fault.betweenMs[1])
      problems.push(`faults[${index}].betweenMs: from is behind to`);
  }
  for (const key of ['seed', ...Object.keys(settings)])
    if (Object.hasOwn(variants, key)) problems.push(`variants.${key}: the name is taken`);
  if (problems.length > 0) return problems;
  const agents = agentCount(definition);
  if (agents > budgets.agents)
    problems.push(`budgets.agents: ${agents} agents are more than ${budgets.agents}`);
  const memory = memoryOf(definition);
  if (memory > budgets.memoryBytes)
    problems.push(
      `budgets.memoryBytes: the agents' limits add up to ${memory}, more than ${budgets.memoryBytes}`,
    );
  return problems;
}
