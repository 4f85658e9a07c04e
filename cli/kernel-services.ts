import path from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { UserKernelOptions } from '../kernel/index.ts';
import { LLM_PROVIDERS, llmFromEnvironment } from '../kernel/llm/providers.ts';
import { parseHeaders } from '../kernel/telemetry/span-exporter.ts';
import type { UserTunnelOptions } from '../kernel/tunnel/settings.ts';

/** What the kernel is to be besides a kernel: asked by agents, watched by others. */
export interface ServiceFlags {
  readonly llm?: (typeof LLM_PROVIDERS)[number];
  readonly llmUrl?: string;
  readonly llmModel?: string;
  readonly llmKeyEnv?: string;
  readonly llmRecording?: string;
  readonly llmConcurrency?: number;
  readonly metricsPort?: number;
  readonly otlpEndpoint?: string;
  readonly relayUrl?: string;
  readonly machineId?: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

export function addServiceOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--llm <provider>',
        'the model that agents may ask (default: Gemini where GEMINI_API_KEY is set, else none)',
      ).choices(LLM_PROVIDERS),
    )
    .option('--llm-url <url>', 'where /chat/completions is below, e.g. https://api.example.org/v1')
    .option('--llm-model <name>', 'asked where a request names none')
    .option('--llm-key-env <name>', 'variable with the key for it; agents never see it')
    .option('--llm-recording <file>', 'of recorded: the recording that answers')
    .option('--llm-concurrency <n>', 'questions to it at a time', wholeNumber(1, 256))
    .option(
      '--metrics-port <port>',
      'serve metrics for Prometheus at 127.0.0.1 (with CLOVE_METRICS_TOKEN set: to who has it)',
      wholeNumber(1, 65_535),
    )
    .option(
      '--otlp-endpoint <url>',
      'send a span of every call there (with the headers of OTEL_EXPORTER_OTLP_HEADERS)',
    )
    .addOption(
      new Option(
        '--relay-url <url>',
        'connect to this relay at start, and keep connected (token: CLOVE_MACHINE_TOKEN)',
      ).env('CLOVE_RELAY_URL'),
    )
    .addOption(
      new Option('--machine-id <id>', 'who this kernel is to the relay (default: the host’s name)').env(
        'CLOVE_MACHINE_ID',
      ),
    );
}

/** What the flags come to, with what only variables may hold. @throws CONFIG */
export function serviceOptions(
  flags: ServiceFlags,
  env: Environment,
): Pick<UserKernelOptions, 'llm' | 'telemetry' | 'tunnel'> {
  const named = {
    ...(flags.llm === undefined ? {} : { provider: flags.llm }),
    ...(flags.llmUrl === undefined ? {} : { baseUrl: flags.llmUrl }),
    ...(flags.llmModel === undefined ? {} : { model: flags.llmModel }),
    ...(flags.llmKeyEnv === undefined ? {} : { apiKeyEnv: flags.llmKeyEnv }),
    ...(flags.llmRecording === undefined ? {} : { recordingFile: path.resolve(flags.llmRecording) }),
    ...(flags.llmConcurrency === undefined ? {} : { maxConcurrent: flags.llmConcurrency }),
  };
  // The key of one provider is not for the URL of another.
  const isOwn =
    flags.llm !== undefined ||
    flags.llmUrl !== undefined ||
    flags.llmKeyEnv !== undefined ||
    flags.llmRecording !== undefined;
  const given = isOwn ? null : llmFromEnvironment(env);
  const meant =
    flags.llmUrl !== undefined ? 'openai-compatible' : flags.llmRecording !== undefined ? 'recorded' : null;
  const provider = flags.llm === undefined ? meant : null;
  const tunnel = tunnelOptions(flags, env);
  return {
    ...(tunnel === null ? {} : { tunnel }),
    llm: { ...given, ...(provider === null ? {} : { provider }), ...named },
    telemetry: {
      metricsPort: flags.metricsPort ?? null,
      metricsToken: env.CLOVE_METRICS_TOKEN || null,
      otlpEndpoint: flags.otlpEndpoint ?? null,
      otlpHeaders: flags.otlpEndpoint === undefined ? {} : parseHeaders(env.OTEL_EXPORTER_OTLP_HEADERS ?? ''),
    },
  };
}

/** As existing deployments say it, too: by all of their variables, each of which could mean something else. null = nothing is said. */
function tunnelOptions(flags: ServiceFlags, env: Environment): UserTunnelOptions | null {
  const isDeployed = Boolean(env.RELAY_URL && env.MACHINE_ID && env.MACHINE_TOKEN);
  const deployed = isDeployed ? env : {};
  const relayUrl = flags.relayUrl || deployed.RELAY_URL || null;
  const machineId = flags.machineId || deployed.MACHINE_ID || null;
  const token = env.CLOVE_MACHINE_TOKEN || deployed.MACHINE_TOKEN || null;
  if (relayUrl === null && machineId === null && token === null) return null;
  return { relayUrl, machineId, token, connectAtStart: relayUrl !== null };
}

/** The same flags, for the process that stays. */
export function serviceArguments(flags: ServiceFlags): string[] {
  const all: readonly (readonly [string, string | number | undefined])[] = [
    ['--llm', flags.llm],
    ['--llm-url', flags.llmUrl],
    ['--llm-model', flags.llmModel],
    ['--llm-key-env', flags.llmKeyEnv],
    ['--llm-recording', flags.llmRecording === undefined ? undefined : path.resolve(flags.llmRecording)],
    ['--llm-concurrency', flags.llmConcurrency],
    ['--metrics-port', flags.metricsPort],
    ['--otlp-endpoint', flags.otlpEndpoint],
    ['--relay-url', flags.relayUrl],
    ['--machine-id', flags.machineId],
  ];
  return all.flatMap(([name, value]) => (value === undefined ? [] : [name, String(value)]));
}

export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`Not a number from ${least} to ${most}.`);
  };
}
