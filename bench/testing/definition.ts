import type { RunDefinition } from '../store/schema.ts';
import { tinyScenario } from './tiny-scenario.ts';

/** A definition for tests of what reads and writes records. */
export function makeDefinition(given: Partial<RunDefinition> = {}): RunDefinition {
  const { name, title, version, description, limits, presentation } = tinyScenario;
  return {
    schemaVersion: 1,
    runId: '20260102-030405-tiny-0000',
    scenario: { name, title, version, description },
    runtimes: ['process'],
    parallel: 2,
    adaptive: false,
    blocks: 1,
    maxAttempts: 3,
    seed: 42,
    faults: {},
    limits,
    coverageFloor: 0.95,
    command: 'clove bench run tiny',
    startedAt: '2026-01-02T03:04:05.000Z',
    machine: {
      hostnameHash: '000000000000',
      os: 'Linux',
      kernel: '6.1',
      cpuModel: 'test',
      cores: 2,
      memoryBytes: 2 ** 34,
      node: '26.10.0',
      clove: '0.0.0',
      gitCommit: null,
      gitDirty: null,
    },
    presentation,
    scenarioOptions: {
      quick: false,
      size: null,
      dataDirectory: null,
      cacheDirectory: '/nonexistent',
      set: {},
    },
    resolved: {},
    provenance: [],
    ...given,
  };
}
