import { z } from 'zod';
import { durationSchema } from '../clock/duration.ts';
import { EVENT_KIND_NAMES, parseEvent } from './kinds.ts';

/** An event in a definition: its kind, what it takes, and how long it lasts. */
export const eventFields = {
  event: z
    .string()
    .max(128)
    .describe(`One of ${EVENT_KIND_NAMES.join(', ')}.`),
  params: z.record(z.string(), z.unknown()).default({}),
  for: durationSchema.optional().describe('How long it lasts; default: until it is cleared.'),
};

/** Names a wrong kind or parameter where it is written. */
export function checkEvent(
  value: { readonly event?: string | undefined; readonly params?: Readonly<Record<string, unknown>> },
  context: z.RefinementCtx,
): void {
  if (value.event === undefined) return;
  try {
    parseEvent(value.event, value.params ?? {});
  } catch (error) {
    const { message } = error as Error;
    const isKind = message.startsWith('unknown event type');
    context.addIssue({
      code: 'custom',
      path: [isKind ? 'event' : 'params'],
      message: isKind ? `expected one of ${EVENT_KIND_NAMES.join(', ')}` : message,
    });
  }
}

export const chaosSchema = z.strictObject({
  enabled: z.boolean().default(true).describe('Whether the rules hold. Events always act.'),
  rules: z
    .array(
      z
        .strictObject({
          name: z.string().max(128).optional().describe('Of its stream of luck; default: its number.'),
          ...eventFields,
          every: durationSchema
            .optional()
            .describe('Draws so often whether it happens; default: in force from the start.'),
          probability: z.number().min(0).max(1).default(1).describe('Of each draw.'),
        })
        .superRefine((rule, context) => {
          checkEvent(rule, context);
          if (rule.every === undefined && rule.probability !== 1) {
            context.addIssue({
              code: 'custom',
              path: ['probability'],
              message: 'a rule without `every` is always in force: the probability belongs into `params`',
            });
          }
          if (rule.every !== undefined && rule.every <= 0) {
            context.addIssue({ code: 'custom', path: ['every'], message: 'must be more than nothing' });
          }
        }),
    )
    .max(1000)
    .default([]),
});
export type ChaosConfig = z.output<typeof chaosSchema>;
export type ChaosRule = ChaosConfig['rules'][number];
