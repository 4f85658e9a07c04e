import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { digestOf, type Grants, LEVELS } from '../permissions/grants.ts';
import { levelGrants } from '../permissions/levels.ts';
import { grantsOf, policyJson, policyRequest } from '../permissions/policy.ts';
import { NO_QUOTAS, QUOTA_FIELDS, QUOTAS, type QuotaLimits, type QuotaUse } from '../permissions/quotas.ts';
import { forbidden } from '../permissions/refusal.ts';
import { defineSyscall, type SyscallContext } from './define.ts';
import { callerId } from './fields.ts';

const target = callerId.nullish().describe('Default: the caller.');
const levelName = z.enum([...LEVELS, 'custom']);

const policyAnswer = z
  .object({
    can_exec: z.boolean(),
    can_read: z.boolean(),
    can_write: z.boolean(),
    can_think: z.boolean(),
    can_spawn: z.boolean(),
    can_http: z.boolean(),
    filesystem: z.object({
      read: z.array(z.string()).describe('Empty = everything that is not blocked.'),
      write: z.array(z.string()),
      blocked: z.array(z.string()),
    }),
    exec: z.array(z.string()),
    blocked_commands: z.array(z.string()),
    network: z.array(z.string()),
    http_methods: z.array(z.string()),
    llm: z.object({
      max_tokens: z.int(),
      max_calls: z.int(),
      tokens_used: z.number(),
      calls_made: z.number(),
    }),
    max_exec_time_ms: z.int(),
    level: levelName,
  })
  .loose()
  .describe('As SET_PERMS takes it.');

const permissionsAnswer = z.object({
  success: z.literal(true),
  agent_id: callerId,
  level: levelName.describe('`custom` where it is none of the levels.'),
  permissions: policyAnswer,
  paths: z.array(z.string()).describe('Patterns of what can be read or written; "/**" = all.'),
  commands: z.array(z.string()),
  domains: z.array(z.string()),
  digest: z.string().describe('Names this policy in records.'),
});

export const getPermissions = defineSyscall({
  opcode: 0x40,
  name: 'GET_PERMS',
  summary: 'What a principal may do: the caller, or an agent that answers to it.',
  request: z.object({ agent_id: target }).catch({ agent_id: null }),
  response: permissionsAnswer,
  permission: 'permissions.read',
  audit: 'SECURITY',
  replay: 'recorded',
  handle({ agent_id }, context) {
    const id = agent_id || context.caller.id;
    return describe(context, id, readGrants(context, id));
  },
});

export const setPermissions = defineSyscall({
  opcode: 0x41,
  name: 'SET_PERMS',
  summary:
    'Replaces what a principal may do, by a level or an object. An operator’s client does so for anybody; an agent for its children up to what it has itself, and for itself only to less. Children are cut to what their parent is left with.',
  request: z.object({
    agent_id: target,
    permissions: policyRequest.nullish().describe('Wins over `level`. If it is not valid, nothing changes.'),
    level: z.enum(LEVELS).nullish(),
  }),
  response: permissionsAnswer,
  permission: 'permissions.set',
  audit: 'SECURITY',
  replay: 'recorded',
  async handle({ agent_id, permissions, level }, context) {
    const { kernel, caller } = context;
    const id = agent_id || caller.id;
    const home = kernel.permissions.homeOf(id === caller.id ? caller.kind : 'agent');
    const wanted = permissions ? grantsOf(permissions, home) : level ? levelGrants(level, home) : null;
    if (wanted === null) return describe(context, id, readGrants(context, id));
    const grants = kernel.permissions.set(caller, id, wanted);
    // Before the record of the call, and on disk with it when the answer leaves.
    void kernel.audit.event({
      category: 'SECURITY',
      type: 'PERMISSIONS_CHANGED',
      agentId: id,
      agentName: kernel.mailboxes.nameOf(id),
      by: { caller, name: kernel.mailboxes.nameOf(caller.id) },
      details: { level: grants.level, policy: digestOf(grants) },
    });
    await kernel.fleet.saveAuthority();
    return describe(context, id, grants);
  },
});

function readGrants({ kernel, caller }: SyscallContext, id: number): Grants {
  const { permissions } = kernel;
  if (id === caller.id) return permissions.grantsOf(caller);
  const isAgent = kernel.agents.get(id) !== undefined || kernel.remotes.has(id);
  if (caller.kind === 'operator' && !isAgent) throw new CloveError('NOT_FOUND', `agent not found: ${id}`);
  if (!isAgent || !permissions.governs(caller, id)) throw notYours(permissions.grantsOf(caller), id);
  return permissions.grantsOf({ id, kind: 'agent' });
}

/** The same words whether there is such an agent or not. */
function notYours(own: Grants, id: number): CloveError {
  return forbidden(
    {
      allowed: false,
      ruleId: 'permissions.not-yours',
      policyDigest: digestOf(own),
      object: String(id),
    },
    `Permission denied: agent ${id} does not answer to the caller`,
  );
}

function describe({ kernel }: SyscallContext, id: number, grants: Grants): z.input<typeof permissionsAnswer> {
  const policy = policyJson(grants);
  const { llmCalls, llmTokens } = kernel.llm.useOf(id);
  const { read, write } = policy.filesystem;
  const listed = [...(grants.can.read ? orAll(read) : []), ...(grants.can.write ? orAll(write) : [])];
  return {
    success: true as const,
    agent_id: id,
    level: grants.level,
    permissions: {
      ...policy,
      level: grants.level,
      llm: { ...policy.llm, tokens_used: llmTokens, calls_made: llmCalls },
    },
    paths: [...new Set(listed)],
    commands: grants.can.exec ? policy.exec : [],
    domains: grants.can.http ? policy.network : [],
    digest: digestOf(grants),
  };
}

function orAll(patterns: readonly string[]): readonly string[] {
  return patterns.length === 0 ? ['/**'] : patterns;
}

const amount = z.number().min(0).max(Number.MAX_SAFE_INTEGER).nullish();
const quotaFields = {
  messages: amount.describe('Messages sent, in all.'),
  state_bytes: amount.describe('Of state, at a time.'),
  llm_calls: amount,
  llm_tokens: amount,
  agents: amount.describe('Live children and theirs.'),
  syscalls_per_second: amount.describe('As many may come in one burst.'),
};
const quotaLimits = z.object(
  Object.fromEntries(Object.keys(quotaFields).map((name) => [name, z.number().nullable()])) as Record<
    keyof typeof quotaFields,
    z.ZodNullable<z.ZodNumber>
  >,
);
const quotaAnswer = z.object({
  success: z.literal(true),
  agent_id: callerId,
  quotas: quotaLimits.describe('null = none of its own. Those of its ancestors hold, too.'),
  used: z.object({
    messages: z.number(),
    state_bytes: z.number(),
    llm_calls: z.number(),
    llm_tokens: z.number(),
    agents: z.number(),
  }),
});

export const setQuota = defineSyscall({
  opcode: 0x92,
  name: 'SET_QUOTA',
  summary:
    'Limits what an agent and all its children together may use; beyond it calls are answered with OVERLOAD. An operator’s client sets any limit; an agent those of its children, and its own only to less.',
  request: z.object({
    agent_id: target,
    quotas: z.strictObject(quotaFields).default({}).describe('What is not named stays; null = no limit.'),
    reset: z.boolean().default(false).describe('Begin to count anew; for operators.'),
  }),
  response: quotaAnswer,
  permission: 'permissions.set',
  audit: 'RESOURCE',
  replay: 'recorded',
  async handle({ agent_id, quotas: wanted, reset }, context) {
    const { kernel, caller } = context;
    const id = agent_id || caller.id;
    assertAgent(context, id);
    const current = kernel.quotas.limitsOf(id);
    const limits: Record<keyof QuotaLimits, number | null> = { ...current };
    for (const quota of QUOTAS) {
      const value = wanted[QUOTA_FIELDS[quota]];
      if (value !== undefined) limits[quota] = value;
    }
    if (caller.kind !== 'operator') assertNarrower(context, id, limits, reset);
    kernel.quotas.set(id, limits);
    if (reset) kernel.quotas.resetUse(id);
    await kernel.fleet.saveAuthority();
    return quotasOf(context, id);
  },
});

export const getQuota = defineSyscall({
  opcode: 0x93,
  name: 'GET_QUOTA',
  summary:
    'Limits of an agent, and what it and its children have used: the caller, or one that answers to it.',
  request: z.object({ agent_id: target }).catch({ agent_id: null }),
  response: quotaAnswer,
  permission: 'permissions.read',
  audit: 'RESOURCE',
  replay: 'recorded',
  handle({ agent_id }, context) {
    const id = agent_id || context.caller.id;
    if (id !== context.caller.id) readGrants(context, id);
    return quotasOf(context, id);
  },
});

/** @throws BAD_REQUEST, NOT_FOUND, FORBIDDEN */
function assertAgent(context: SyscallContext, id: number): void {
  if (id === context.caller.id && context.caller.kind === 'operator') {
    throw new CloveError('BAD_REQUEST', 'invalid request: agent_id required', {
      hint: 'Quotas are of agents; an operator has none.',
    });
  }
  if (id !== context.caller.id) readGrants(context, id);
}

/** Its own: less than now. A child's: whatever it is, the parent's own holds, too; but nobody undoes what an operator has set. */
function assertNarrower(
  { kernel, caller }: SyscallContext,
  id: number,
  limits: QuotaLimits,
  reset: boolean,
): void {
  const current = kernel.quotas.limitsOf(id);
  const wider = QUOTAS.find((quota) => {
    const now = current[quota];
    const next = limits[quota];
    return now !== null && (next === null || next > now);
  });
  if (wider === undefined && !reset) return;
  const object = wider === undefined ? 'reset' : QUOTA_FIELDS[wider];
  throw forbidden(
    {
      allowed: false,
      ruleId: `quota.widen:${object}`,
      policyDigest: digestOf(kernel.permissions.grantsOf(caller)),
      object: String(id),
    },
    `Permission denied: ${object} goes beyond what may be given here`,
  );
}

function quotasOf({ kernel }: SyscallContext, id: number): z.input<typeof quotaAnswer> {
  const limits = kernel.quotas.limitsOf(id);
  return {
    success: true as const,
    agent_id: id,
    quotas: renamed({ ...NO_QUOTAS, ...limits }) as z.input<typeof quotaLimits>,
    used: renamed(kernel.quotas.useOf(id)) as z.input<typeof quotaAnswer>['used'],
  };
}

function renamed(values: QuotaLimits | QuotaUse): Record<string, number | null> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [QUOTA_FIELDS[name as keyof QuotaLimits], value]),
  );
}

export const permissionSyscalls = [getPermissions, setPermissions, setQuota, getQuota] as const;
