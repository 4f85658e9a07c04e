import { z } from 'zod';
import type { MetricTree } from '../bench/types.ts';
import { ERROR_CODES, type ErrorCode } from '../errors/codes.ts';

/** What several parts of results.json are made of. */

export const runtime = z.enum(['clove', 'process', 'thread', 'sequential', 'python-pool']);
const parameterValue = z.union([z.string(), z.number(), z.boolean()]);
export const params = z.record(z.string(), parameterValue);
export const facts = z.record(z.string(), parameterValue.nullable());
export const count = z.int().min(0);
export const ms = z.number().min(0);
export const bytes = z.number().min(0);
export const fraction = z.number().min(0).max(1);

export const metricTree: z.ZodType<MetricTree> = z
  .record(z.string(), z.union([z.number(), z.null(), z.lazy(() => metricTree)]))
  .meta({
    id: 'MetricTree',
    description: 'Nested figures, e.g. {"test": {"aucRoc": 0.86}}. null = not defined for this trial.',
  });

export const errorData = z
  .strictObject({
    code: z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]),
    message: z.string().describe('What failed, on what, in one line. Untrusted text.'),
    hint: z.exactOptional(z.string()),
    details: z.exactOptional(z.record(z.string(), z.unknown())),
  })
  .meta({ id: 'Error' });

export const usage = z
  .strictObject({
    wallMs: ms.describe('From start of the attempt in the runtime to its end.'),
    startupMs: ms.nullable().describe("From start to the first instruction of the scenario's function."),
    computeMs: ms.nullable().describe("Inside the scenario's function."),
    cpuMs: ms.nullable(),
    memoryPeakBytes: bytes.nullable(),
    memorySource: z
      .enum(['cgroup', 'maxrss', 'shared'])
      .nullable()
      .describe("Where memoryPeakBytes comes from; 'shared' = of a process that runs several trials."),
  })
  .meta({ id: 'AttemptUsage' });
