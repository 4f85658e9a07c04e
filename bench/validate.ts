/** `scenario validate`: what can be said of a scenario without running anything of it. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { errorToData } from '../errors/index.ts';
import type { Scenario } from './scenario.ts';
import { type FoundScenario, loadScenarioFile } from './scenarios.ts';

const metric = z.object({ path: z.string().min(1), label: z.string().min(1), format: z.string() });

/** The plain part of a scenario of workers; that of fleets is checked when it is loaded. */
const scenarioSchema = z.object({
  name: z.string().regex(/^[a-z][a-z0-9-]{0,47}$/),
  title: z.string().min(1),
  description: z.string().min(1),
  version: z.string().min(1),
  worker: z.custom((value) => value instanceof URL, 'not a URL'),
  limits: z.object({
    memoryBytes: z.number().positive(),
    cpu: z.number().positive(),
    maxPids: z.int().min(2),
    timeoutMs: z.number().positive(),
  }),
  presentation: z.object({
    primaryMetric: z.object({
      path: z.string().min(1),
      label: z.string().min(1),
      higherIsBetter: z.boolean(),
    }),
    metrics: z.array(metric),
  }),
  settings: z.record(z.string(), z.string()),
});

export interface Validation {
  readonly problems: readonly string[];
  /** Of its grid with all defaults; 0 where it could not be planned. */
  readonly trials: number;
}

/** Never rejects. */
export async function validateScenario(found: FoundScenario): Promise<Validation> {
  let scenario: Scenario;
  try {
    scenario = await loadScenarioFile(found);
  } catch (error) {
    const { message, details } = errorToData(error);
    const all = details?.problems;
    return { problems: Array.isArray(all) ? all.map(String) : [message], trials: 0 };
  }
  const parsed = scenarioSchema.safeParse(scenario);
  const problems = (parsed.error?.issues ?? []).map(
    (issue) => `${issue.path.map(String).join('.') || '(root)'}: ${issue.message}`,
  );
  if (parsed.success && !existsSync(fileURLToPath(scenario.worker)))
    problems.push(`worker: there is no file ${fileURLToPath(scenario.worker)}`);
  if (problems.length > 0) return { problems, trials: 0 };
  const folder = mkdtempSync(join(tmpdir(), 'clove-validate-'));
  try {
    const plan = await scenario.plan({
      quick: false,
      size: null,
      seed: 42,
      dataDirectory: null,
      cacheDirectory: folder,
      set: {},
    });
    return { problems: [], trials: (await plan.trials()).length };
  } catch (error) {
    return { problems: [`plan: ${errorToData(error).message}`], trials: 0 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
