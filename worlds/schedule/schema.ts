import { Cron } from 'croner';
import { z } from 'zod';
import { checkEvent, eventFields } from '../chaos/schema.ts';
import { durationSchema, parseDurationMs } from '../clock/duration.ts';

const path = z.string().min(1).max(4096);
const text = z.string().max(2 ** 20);

/** "+1h" or "1h30m": since the world's start. */
const at = z.union([
  z.number().min(0),
  z.string().transform((value, context) => {
    const parsed = parseDurationMs(value.replace(/^\+/, ''));
    if (parsed !== null) return parsed;
    context.addIssue({ code: 'custom', message: 'expected a time since the start such as +90s or +1h30m' });
    return z.NEVER;
  }),
]);

const cron = z
  .string()
  .max(128)
  .refine((value) => {
    try {
      return new Cron(value, { paused: true, timezone: 'UTC' }).nextRun() !== null;
    } catch {
      return false;
    }
  }, 'expected a cron pattern such as "*/15 * * * *", in UTC');

const condition = z
  .strictObject({
    file: z
      .strictObject({ path, contains: z.string().max(4096).optional(), missing: z.boolean().default(false) })
      .optional(),
    state: z.strictObject({ key: z.string().min(1).max(1024), equals: z.json().optional() }).optional(),
    requests: z
      .strictObject({
        host: z.string().max(260).optional(),
        path: z.string().max(2048).optional().describe('Begins so.'),
        method: z.string().max(16).optional(),
        at_least: z.int().min(1).default(1),
      })
      .optional(),
    happened: z.string().max(128).optional().describe('Name of another entry.'),
    members: z.int().min(1).max(10_000).optional().describe('So many at least.'),
  })
  .refine(
    (value) => Object.values(value).some((one) => one !== undefined),
    'expected at least one condition',
  );
export type Condition = z.output<typeof condition>;

const actions = {
  write: z.strictObject({ path, content: text }).optional(),
  append: z.strictObject({ path, content: text }).optional(),
  remove: path.optional(),
  store: z.strictObject({ key: z.string().min(1).max(1024), value: z.json() }).optional(),
  send: z
    .strictObject({ to: z.string().min(1).max(256), message: z.json() })
    .optional()
    .describe('To the members of that name (`*` as a wild card).'),
  emit: z
    .strictObject({ type: z.string().min(1).max(128), data: z.json().default(null) })
    .optional()
    .describe('A CUSTOM event to the members.'),
  request: z
    .strictObject({
      url: z.string().min(1).max(8192),
      method: z.string().max(16).default('GET'),
      headers: z.record(z.string(), z.string()).default({}),
      json: z.json().optional(),
      body: text.optional(),
    })
    .optional()
    .describe('Into the world’s own network.'),
};

export const scheduleEntry = z
  .strictObject({
    name: z.string().max(128).optional(),
    at: at.optional().describe('Time since the start.'),
    cron: cron.optional(),
    every: durationSchema.optional(),
    when: condition.optional(),
    after: durationSchema.default(0).describe('So long after its time.'),
    jitter: durationSchema.default(0).describe('At most so much later, drawn.'),
    times: z.int().min(1).max(1_000_000).optional().describe('Default: once for at and when, else for ever.'),
    ...eventFields,
    event: eventFields.event.optional(),
    ...actions,
  })
  .superRefine((entry, context) => {
    const triggers = [entry.at, entry.cron, entry.every, entry.when].filter(
      (one) => one !== undefined,
    ).length;
    // `at` with `every`: from then on.
    const isFrom = entry.at !== undefined && entry.every !== undefined && triggers === 2;
    if (triggers !== 1 && !isFrom) {
      context.addIssue({ code: 'custom', message: 'expected one of at, cron, every and when' });
    }
    if (entry.every !== undefined && entry.every < 1) {
      context.addIssue({ code: 'custom', path: ['every'], message: 'expected at least 1ms' });
    }
    checkEvent(entry, context);
    const does = ['event', ...Object.keys(actions)].some(
      (key) => (entry as Record<string, unknown>)[key] !== undefined,
    );
    if (!does) {
      context.addIssue({
        code: 'custom',
        message: `expected what happens: event, ${Object.keys(actions).join(', ')}`,
      });
    }
  });
export type ScheduleEntry = z.output<typeof scheduleEntry>;
/** Each is looked at after every call of a member. */
const MAX_CONDITIONS = 500;

export const scheduleSchema = z
  .array(scheduleEntry)
  .max(20_000)
  .refine(
    (entries) => entries.filter(({ when }) => when !== undefined).length <= MAX_CONDITIONS,
    `more than ${MAX_CONDITIONS} entries with a condition`,
  )
  .default([]);
