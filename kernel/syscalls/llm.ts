import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { accept } from '../async/accept.ts';
import type { ModelRequest, ThinkingLevel } from '../llm/model.ts';
import type { LlmAnswer } from '../llm/service.ts';
import { digestOf } from '../permissions/grants.ts';
import { forbidden } from '../permissions/refusal.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { defineSyscall } from './define.ts';
import { accepted, asynchronous, callerId } from './fields.ts';

/** More than any model takes at a time: who reports it does not report what it used. */
const MAX_REPORTED_TOKENS = 100_000_000;
const CALL = { opcode: OPCODES.THINK, name: 'THINK' };

const image = z.object({
  data: z.base64().min(1).describe('base64.'),
  mime_type: z
    .string()
    .regex(/^image\/[a-z0-9.+-]{1,64}$/, 'not the type of an image')
    .default('image/jpeg'),
});

const tool = z.object({
  name: z.string().regex(/^[\w.-]{1,128}$/, 'not a name of a function'),
  description: z.string().max(16_384).default(''),
  parameters: z.record(z.string(), z.unknown()).default({ type: 'object', properties: {} }),
});

const thinkRequest = z.object({
  prompt: z.string().default(''),
  image: image.nullish(),
  system_instruction: z.string().nullish(),
  thinking_level: z.string().max(64).nullish().describe('low, medium or high; any other counts as medium.'),
  temperature: z.number().min(0).max(2).nullish(),
  model: z.string().max(256).nullish().describe('Default: the one the kernel was started with.'),
  max_tokens: z
    .int()
    .min(1)
    .max(1_000_000)
    .nullish()
    .describe('Most of the answer; less where a quota has less left.'),
  tools: z.array(tool).max(128).nullish(),
  ...asynchronous,
  async: z
    .boolean()
    .default(true)
    .describe('True, also where it is absent: accepted at once, answered by ASYNC_POLL.'),
});

export const think = defineSyscall({
  opcode: OPCODES.THINK,
  name: 'THINK',
  malformed: 'invalid request',
  summary:
    'Asks the model that the kernel was started with. Callers take turns; calls and tokens are counted by what the provider reports, against the quotas of the caller and of those it answers to.',
  request: thinkRequest.prefault({}),
  response: z.union([
    z.object({
      success: z.literal(true),
      content: z.string(),
      tokens: z.int().describe('Of question and answer together.'),
      input_tokens: z.int(),
      output_tokens: z.int().describe('With what the model reasoned.'),
      tokens_estimated: z.literal(true).optional().describe('The provider did not count: a guess by length.'),
      model: z.string().describe('Which one answered.'),
      finish_reason: z.string().describe('In the provider’s words: `length` = cut off.'),
      function_calls: z.array(z.object({ name: z.string(), arguments: z.unknown() })).optional(),
      duration_ms: z
        .number()
        .describe('With the wait for its turn; of a member of a world on the world’s clock.'),
    }),
    accepted,
  ]),
  permission: 'think',
  audit: 'RESOURCE',
  replay: 'recorded',
  errorShape: { content: '' },
  handle(request, context) {
    const { kernel, caller, signal } = context;
    const provider = kernel.llm.assertConfigured();
    if (request.prompt === '' && !request.image) {
      throw new CloveError('BAD_REQUEST', 'invalid request: prompt required');
    }
    const question = toQuestion(request, provider.defaultModel);
    const run = async (until: AbortSignal) => {
      const startedMs = performance.now();
      const ask = () => kernel.llm.think(caller, question, until);
      const world = kernel.worlds?.joinedBy(caller.id) ?? null;
      if (world === null) return toAnswer(await ask(), performance.now() - startedMs);
      const { answer, durationMs } = await world.think(caller.id, {
        waits: !request.async,
        signal: until,
        ask,
      });
      return toAnswer(answer, durationMs);
    };
    return request.async
      ? accept(context, CALL, request.request_id, run, { input: request, isTimedByWorld: true })
      : run(signal);
  },
});

function toQuestion(request: z.output<typeof thinkRequest>, defaultModel: string): ModelRequest {
  return {
    model: request.model || defaultModel,
    prompt: request.prompt,
    systemInstruction: request.system_instruction || null,
    image: request.image ? { data: request.image.data, mimeType: request.image.mime_type } : null,
    thinkingLevel: toThinkingLevel(request.thinking_level),
    temperature: request.temperature ?? null,
    maxOutputTokens: request.max_tokens ?? null,
    tools: request.tools ?? [],
  };
}

function toThinkingLevel(level: string | null | undefined): ThinkingLevel | null {
  if (!level) return null;
  return level === 'low' || level === 'high' ? level : 'medium';
}

function toAnswer(answer: LlmAnswer, durationMs: number) {
  const { functionCalls } = answer;
  return {
    success: true as const,
    content: answer.content,
    tokens: answer.inputTokens + answer.outputTokens,
    input_tokens: answer.inputTokens,
    output_tokens: answer.outputTokens,
    ...(answer.isEstimated ? { tokens_estimated: true as const } : {}),
    model: answer.model,
    finish_reason: answer.finishReason,
    ...(functionCalls.length === 0 ? {} : { function_calls: functionCalls.map((each) => ({ ...each })) }),
    duration_ms: durationMs,
  };
}

export const llmReport = defineSyscall({
  opcode: OPCODES.LLM_REPORT,
  name: 'LLM_REPORT',
  summary:
    'Tells what the caller has used of a model of its own: one call and its tokens, counted against its quota whatever is left of it. Nobody reports for others, and nothing lowers what was counted.',
  request: z.object({
    tokens: z.int().min(0).max(MAX_REPORTED_TOKENS).default(0),
    success: z.unknown().optional().describe('Not read.'),
    agent_id: callerId.nullish().describe('The caller’s own, if any.'),
  }),
  response: z.object({
    success: z.boolean().describe('Still within the quota.'),
    tokens: z.int(),
    quota_exceeded: z.boolean(),
    error: z.string().optional(),
  }),
  permission: 'think',
  audit: 'RESOURCE',
  replay: 'recorded',
  errorShape: { tokens: 0, quota_exceeded: false },
  handle({ tokens, agent_id }, { kernel, caller }) {
    if (agent_id && agent_id !== caller.id) {
      const policyDigest = digestOf(kernel.permissions.grantsOf(caller));
      throw forbidden(
        { allowed: false, ruleId: 'llm.not-yours', policyDigest, object: String(agent_id) },
        'Permission denied: the use of others is theirs to report',
      );
    }
    const isWithin = kernel.llm.report(caller, tokens);
    return {
      success: isWithin,
      tokens,
      quota_exceeded: !isWithin,
      ...(isWithin ? {} : { error: 'LLM quota exceeded or permission denied' }),
    };
  },
});

export const llmSyscalls = [think, llmReport] as const;
