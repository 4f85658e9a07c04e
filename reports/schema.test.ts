import { describe, expect, it } from 'vitest';
import { makeResults } from './fixture.ts';
import { parseResults } from './schema.ts';
import { schemaFileIsCurrent } from './schema-file.ts';

function broken(change: (copy: Record<string, never>) => void): () => unknown {
  const copy = structuredClone(makeResults({ trials: 4 })) as unknown as Record<string, never>;
  change(copy);
  return () => parseResults(copy);
}

describe('parseResults', () => {
  it('reads back what was written, to the last figure', () => {
    const results = makeResults();
    expect(parseResults(JSON.stringify(results, null, 2))).toEqual(results);
    expect(parseResults(results)).toEqual(results);
  });

  it('names the path of what is wrong, with code DATA_CORRUPT', () => {
    expect(
      broken((copy) => {
        (copy as never as { trials: { attempts: { usage: { wallMs: unknown } }[] }[] }).trials[3]!
          .attempts[0]!.usage.wallMs = 'long';
      }),
    ).toThrow(
      expect.objectContaining({
        code: 'DATA_CORRUPT',
        message: expect.stringContaining('trials[3].attempts[0].usage.wallMs'),
      }),
    );
  });

  it('refuses unknown keys, missing keys and other versions', () => {
    for (const change of [
      (copy: Record<string, unknown>) => Object.assign(copy, { extra: 1 }),
      (copy: Record<string, unknown>) => delete copy.verdict,
      (copy: Record<string, unknown>) => Object.assign(copy, { schemaVersion: 2 }),
    ]) {
      expect(broken(change as never)).toThrow(expect.objectContaining({ code: 'DATA_CORRUPT' }));
    }
  });

  it('says so when a file was cut off', () => {
    const text = JSON.stringify(makeResults({ trials: 2 })).slice(0, -20);
    expect(() => parseResults(text)).toThrow(
      expect.objectContaining({ code: 'DATA_CORRUPT', message: 'results.json is not JSON' }),
    );
  });

  it('refuses figures nested thousands deep instead of exhausting the stack', () => {
    const depth = 20_000;
    const deep = `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
    const text = JSON.stringify(makeResults({ trials: 1, runtimes: ['clove'] })).replace(
      /"metrics":\{.*?\}\}/,
      `"metrics":${deep}`,
    );
    expect(() => parseResults(text)).toThrow('results.json is nested too deeply');
  });

  it('is what docs/results.schema.json says', async () => {
    expect(await schemaFileIsCurrent()).toBe(true);
  });
});
