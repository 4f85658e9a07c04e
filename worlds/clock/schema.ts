import { z } from 'zod';
import { durationSchema } from './duration.ts';
import { CLOCK_MODES, type ClockMode, type LlmTimePrice } from './types.ts';

/** Beyond this, every real delay times the factor is larger than the time-outs that programs set. */
export const MAX_SCALE = 20;
/** The years that certificates, databases and 64-bit time all agree on. */
const FIRST_EPOCH_MS = 0;
const LAST_EPOCH_MS = Date.UTC(2262, 0, 1);

const epoch = (value: number, context: z.RefinementCtx): number => {
  if (Number.isFinite(value) && value >= FIRST_EPOCH_MS && value < LAST_EPOCH_MS) return value;
  context.addIssue({
    code: 'custom',
    message: 'expected "now", an ISO 8601 date with a time zone, or epoch milliseconds, from 1970 to 2261',
  });
  return z.NEVER;
};

/** Dates without a zone would mean something else on every machine. */
const ZONED_DATE = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2}))?$/;

const start = z.union([
  z.literal('now').transform(() => null),
  z.number().transform(epoch),
  z.date().transform((date, context) => epoch(date.getTime(), context)),
  z
    .string()
    .transform((text, context) => epoch(ZONED_DATE.test(text) ? Date.parse(text) : Number.NaN, context)),
]);

const LLM_TIME = /^(?:(real|free|recorded)|fixed:(\d+(?:\.\d+)?)|per-token:(\d+(?:\.\d+)?))$/;

const llmTime = z.string().transform((text, context): LlmTimePrice => {
  const [matched, plain, fixed, perToken] = LLM_TIME.exec(text) ?? [];
  if (matched === undefined) {
    context.addIssue({
      code: 'custom',
      message: 'expected real, free, recorded, fixed:<milliseconds> or per-token:<microseconds>',
    });
    return z.NEVER;
  }
  if (fixed !== undefined) return { kind: 'fixed', ms: Number(fixed) };
  if (perToken !== undefined) return { kind: 'per-token', usPerToken: Number(perToken) };
  return { kind: plain as 'real' | 'free' | 'recorded' };
});

const clockObject = z.strictObject({
  mode: z.enum(CLOCK_MODES).default('skip').describe('How virtual time moves.'),
  start: start
    .default(null)
    .describe('Virtual date of the world’s start: "now", ISO 8601 with a zone, or epoch ms.'),
  scale: z
    .number()
    .gt(0)
    .max(MAX_SCALE)
    .default(1)
    .describe(`Factor of mode scale, at most ${MAX_SCALE}: real delays are multiplied too.`),
  horizon: durationSchema
    .nullable()
    .default(null)
    .describe('Virtual time since the start beyond which nothing is skipped.'),
  coalesce_ms: z
    .number()
    .min(0)
    .max(5)
    .default(1)
    .describe('Deadlines this close to the next one are met by the same jump.'),
  llm_time: llmTime
    .default({ kind: 'real' })
    .describe(
      'Virtual time that THINK costs: real = as long as it took; free = none; fixed:<ms>; per-token:<µs> of question and answer; recorded = as long as the answer took when it was recorded, of a model that answers from a recording, and as long as it takes of any other.',
    ),
});

/** The `clock` part of a world definition; a mode alone may stand for it (`clock: skip`). */
export const clockSchema = z.preprocess(
  (value) => (typeof value === 'string' ? { mode: value } : value),
  clockObject.superRefine((clock, context) => {
    if (clock.llm_time.kind !== 'real' && clock.mode === 'real')
      context.addIssue({
        code: 'custom',
        path: ['llm_time'],
        message: 'mode real has no time but the real one: expected real',
      });
    if (clock.scale !== 1 && clock.mode !== 'scale')
      context.addIssue({ code: 'custom', path: ['scale'], message: 'scale needs mode scale' });
  }),
);

/** As written. */
export type ClockInput = z.input<typeof clockObject> | ClockMode;
/** With defaults: nothing is optional any more; `start` null = the moment of creation. */
export type ClockConfig = z.output<typeof clockObject>;
