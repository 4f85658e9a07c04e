import { z } from 'zod';
import { LEVELS } from '../kernel/permissions/grants.ts';
import { policyRequest } from '../kernel/permissions/policy.ts';
import { chaosSchema } from './chaos/schema.ts';
import { clockSchema } from './clock/schema.ts';
import { networkSchema, servicesSchema } from './network/schema.ts';
import { scheduleSchema } from './schedule/schema.ts';

/**
 * A world, as it is written: in YAML, in TypeScript (`defineWorld`), or sent with WORLD_CREATE. Everything has a default and a
 * bound: a definition may come from an agent.
 */

export const DEFAULT_FILE_LIMITS = { bytes: 256 * 2 ** 20, files: 100_000, fileBytes: 64 * 2 ** 20 };

const MAX_FILES = 20_000;
const MAX_PATTERNS = 256;
const filePath = z
  .string()
  .min(1)
  .max(4096)
  .refine((path) => !path.includes('\0') && path.isWellFormed(), 'NUL or malformed text');
const patterns = z.array(z.string().min(1).max(1024)).max(MAX_PATTERNS);
const mode = z.union([
  z.literal('r').transform(() => 0o444),
  z.literal('rw').transform(() => 0o644),
  z
    .string()
    .regex(/^0?[0-7]{3,4}$/, 'expected r, rw or an octal mode such as "0644"')
    .transform((text) => Number.parseInt(text, 8)),
]);

const initialFile = z.union([
  z.string().max(64 * 2 ** 20),
  z.strictObject({
    content: z
      .string()
      .max(64 * 2 ** 20)
      .default(''),
    encoding: z.enum(['utf8', 'base64']).default('utf8'),
    mode: mode.optional(),
    modified: z
      .union([z.number(), z.string().max(40)])
      .optional()
      .describe('Default: the world’s start.'),
  }),
  z.strictObject({ folder: z.literal(true), mode: mode.optional() }),
  z.strictObject({ link: z.string().min(1).max(4096) }),
]);

export const filesSchema = z.strictObject({
  initial: z
    .record(filePath, initialFile)
    .refine((files) => Object.keys(files).length <= MAX_FILES, `more than ${MAX_FILES} files`)
    .default({})
    .describe('Path to content.'),
  from: z
    .string()
    .max(1024)
    .optional()
    .describe('A folder beside the definition whose tree is the world’s root. Only in files.'),
  intercept: patterns.default(['/**']).describe('Paths that are the world’s; others are the caller’s own.'),
  readonly: patterns.default([]).describe('What nobody in the world may change.'),
  writable: patterns.default([]).describe('Where files may be made; default everywhere.'),
  limits: z
    .strictObject({
      bytes: z
        .int()
        .min(0)
        .max(2 ** 30)
        .default(DEFAULT_FILE_LIMITS.bytes),
      files: z.int().min(0).max(1_000_000).default(DEFAULT_FILE_LIMITS.files),
      file_bytes: z
        .int()
        .min(0)
        .max(2 ** 29)
        .default(DEFAULT_FILE_LIMITS.fileBytes),
    })
    .prefault({}),
});
export type FilesConfig = z.output<typeof filesSchema>;

const roleName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'expected a name');

const role = z.strictObject({
  description: z.string().max(4096).default(''),
  permissions: z
    .union([z.enum(LEVELS), policyRequest])
    .optional()
    .describe('As for SPAWN.'),
});

const agent = z.strictObject({
  role: roleName.optional(),
  script: z.string().max(4096).optional().describe('Beside the definition.'),
  command: z.array(z.string().max(131_072)).min(1).max(4096).optional(),
  args: z.array(z.string().max(131_072)).max(4096).default([]),
  env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,255}$/), z.string().max(131_072)).default({}),
  count: z.int().min(1).max(256).default(1),
  restart_policy: z.enum(['never', 'always', 'on-failure']).default('never'),
});

export const worldSchema = z
  .strictObject({
    name: z.string().min(1).max(256).optional(),
    description: z.string().max(16_384).default(''),
    form: z
      .enum(['virtual', 'mounted'])
      .default('virtual')
      .describe('Whether its members are processes that see its files and network, or ask the kernel.'),
    seed: z
      .int()
      .min(0)
      .max(2 ** 32 - 1)
      .default(0),
    files: z
      .union([z.literal('own'), filesSchema])
      .prefault({})
      .describe('"own": members keep their own files and commands.'),
    network: z
      .union([z.literal('own'), networkSchema])
      .prefault({})
      .describe('"own": requests of members go where they would go anyway.'),
    services: servicesSchema.prefault({}),
    clock: clockSchema.prefault({}),
    chaos: chaosSchema.prefault({}),
    schedule: scheduleSchema,
    state: z.record(z.string().min(1).max(1024), z.json()).default({}).describe('Shared keys at the start.'),
    roles: z.record(roleName, role).default({}),
    agents: z.record(roleName, agent).default({}),
    permissions: z
      .union([z.enum(LEVELS), policyRequest])
      .optional()
      .describe('Of agents of this world whose role says nothing else.'),
    open: z.boolean().default(false).describe('Whether any agent may join; else only those put into it.'),
  })
  .superRefine((world, context) => {
    if (world.network === 'own' && Object.keys(world.services).length > 0) {
      context.addIssue({
        code: 'custom',
        path: ['services'],
        message: 'services need a network of the world',
      });
    }
    for (const [name, { role: of }] of Object.entries(world.agents)) {
      if (of === undefined || Object.hasOwn(world.roles, of)) continue;
      context.addIssue({
        code: 'custom',
        path: ['agents', name, 'role'],
        message: `expected one of the roles: ${Object.keys(world.roles).join(', ') || 'there are none'}`,
      });
    }
  });

/** As written. */
export type WorldInput = z.input<typeof worldSchema>;
/** With defaults; nothing is looked up any more. */
export type WorldDefinition = z.output<typeof worldSchema>;

/** For definitions in TypeScript: checks the types as they are written. */
export function defineWorld(world: WorldInput): WorldInput {
  return world;
}
