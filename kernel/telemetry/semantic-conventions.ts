/**
 * Every name that leaves in a span, and the version they are of. The gen_ai names are still in development: they change
 * here, and the schema's version with them.
 */
export const SCHEMA_URL = 'https://opentelemetry.io/schemas/1.41.0';

export const SCOPE_NAME = 'clove.kernel';

export const RESOURCE = {
  serviceName: 'service.name',
  serviceVersion: 'service.version',
  serviceInstanceId: 'service.instance.id',
  hostName: 'host.name',
  processPid: 'process.pid',
} as const;

export const ERROR_TYPE = 'error.type';

export const CLOVE = {
  syscallName: 'clove.syscall.name',
  syscallOpcode: 'clove.syscall.opcode',
  outcome: 'clove.outcome',
  callerKind: 'clove.caller.kind',
  callerId: 'clove.caller.id',
  isLater: 'clove.async',
} as const;

export const GEN_AI = {
  operationName: 'gen_ai.operation.name',
  providerName: 'gen_ai.provider.name',
  agentId: 'gen_ai.agent.id',
  agentName: 'gen_ai.agent.name',
  requestModel: 'gen_ai.request.model',
  requestMaxTokens: 'gen_ai.request.max_tokens',
  requestTemperature: 'gen_ai.request.temperature',
  responseModel: 'gen_ai.response.model',
  responseFinishReasons: 'gen_ai.response.finish_reasons',
  usageInputTokens: 'gen_ai.usage.input_tokens',
  usageOutputTokens: 'gen_ai.usage.output_tokens',
} as const;

/** Of gen_ai.operation.name. */
export const CHAT = 'chat';
