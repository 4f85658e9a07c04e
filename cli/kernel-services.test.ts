import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { resolveOptions } from '../kernel/options.ts';
import { addServiceOptions, type ServiceFlags, serviceArguments, serviceOptions } from './kernel-services.ts';

const NO_TELEMETRY = { metricsPort: null, metricsToken: null, otlpEndpoint: null, otlpHeaders: {} };

function flagsOf(args: readonly string[]): ServiceFlags {
  const command = addServiceOptions(new Command().exitOverride().configureOutput({ writeErr: () => {} }));
  return command.parse(args, { from: 'user' }).opts();
}

const optionsOf = (args: readonly string[], env: Record<string, string> = {}) =>
  serviceOptions(flagsOf(args), env);

describe('flags of clove kernel start for models and telemetry', () => {
  it('are all off where none is given and no key is set', () => {
    expect(optionsOf([])).toEqual({ llm: {}, telemetry: NO_TELEMETRY });
    expect(resolveOptions(optionsOf([])).llm.provider).toBe('none');
  });

  it('take Gemini where its key is set, unless they name another', () => {
    const env = { GEMINI_API_KEY: 'k', GEMINI_MODEL: 'gemini-x' };
    expect(optionsOf([], env).llm).toMatchObject({
      provider: 'openai-compatible',
      model: 'gemini-x',
      apiKeyEnv: 'GEMINI_API_KEY',
    });
    expect(optionsOf(['--llm-model', 'other'], env).llm).toMatchObject({ model: 'other' });
    expect(optionsOf(['--llm', 'none'], env).llm).toEqual({ provider: 'none' });
    expect(optionsOf(['--llm-url', 'http://localhost:1/v1', '--llm-model', 'm'], env).llm).toEqual({
      provider: 'openai-compatible',
      baseUrl: 'http://localhost:1/v1',
      model: 'm',
    });
  });

  it('take secrets from variables alone', () => {
    const options = optionsOf(['--metrics-port', '9100', '--otlp-endpoint', 'http://c:4318'], {
      CLOVE_METRICS_TOKEN: 'a-token-of-the-operator',
      OTEL_EXPORTER_OTLP_HEADERS: 'api-key=k',
    });
    expect(options.telemetry).toEqual({
      metricsPort: 9100,
      metricsToken: 'a-token-of-the-operator',
      otlpEndpoint: 'http://c:4318',
      otlpHeaders: { 'api-key': 'k' },
    });
    expect(resolveOptions(options).telemetry).toEqual(options.telemetry);
  });

  it('reach the process that stays as they were given', () => {
    const args = [
      ...['--llm', 'openai-compatible', '--llm-url', 'http://localhost:1/v1', '--llm-model', '-m'],
      ...[
        '--llm-key-env',
        'KEY',
        '--llm-concurrency',
        '3',
        '--metrics-port',
        '9100',
        '--otlp-endpoint',
        'http://c',
      ],
    ];
    expect(serviceArguments(flagsOf(args))).toEqual(args);
  });

  it.each([
    ['--llm', 'other'],
    ['--llm-concurrency', '0'],
    ['--metrics-port', '70000'],
    ['--metrics-port', 'x'],
  ])('refuse %s %s', (...args) => {
    expect(() => flagsOf(args)).toThrow();
  });
});

describe('flags and variables for a relay', () => {
  it('say nothing where none is given', () => {
    expect(optionsOf([]).tunnel).toBeUndefined();
    // Somebody else's.
    expect(optionsOf([], { RELAY_URL: 'ws://r:1' }).tunnel).toBeUndefined();
  });

  it('connect at start to what a flag, a variable or one of existing deployments names', () => {
    const wanted = { relayUrl: 'ws://r:1', machineId: 'm', token: 't', connectAtStart: true };
    expect(
      optionsOf(['--relay-url', 'ws://r:1', '--machine-id', 'm'], { CLOVE_MACHINE_TOKEN: 't' }).tunnel,
    ).toEqual(wanted);
    expect(optionsOf([], { RELAY_URL: 'ws://r:1', MACHINE_ID: 'm', MACHINE_TOKEN: 't' }).tunnel).toEqual(
      wanted,
    );
    expect(resolveOptions(optionsOf(['--relay-url', 'ws://r:1'])).tunnel).toMatchObject({
      relayUrl: 'ws://r:1',
      machineId: null,
      connectAtStart: true,
    });
    expect(() => resolveOptions(optionsOf(['--relay-url', 'http://r']))).toThrow(/relayUrl|ws:/);
    expect(serviceArguments(flagsOf(['--relay-url', 'ws://r:1', '--machine-id', 'm']))).toEqual([
      '--relay-url',
      'ws://r:1',
      '--machine-id',
      'm',
    ]);
  });

  it('give the token alone where only that is there', () => {
    expect(optionsOf([], { CLOVE_MACHINE_TOKEN: 't' }).tunnel).toEqual({
      relayUrl: null,
      machineId: null,
      token: 't',
      connectAtStart: false,
    });
  });
});
