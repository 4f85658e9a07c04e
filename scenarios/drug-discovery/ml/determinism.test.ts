import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { inputOf, TEST_ROWS, TRAIN_ROWS } from './golden/inputs.ts';
import { createClassifier, MODEL_NAMES } from './index.ts';

/** What a process of its own makes of the same seed; it prints one digest. */
const CHILD = `
  const { createHash } = await import('node:crypto');
  const { inputOf, TEST_ROWS, TRAIN_ROWS } = await import(process.argv[1] + '/golden/inputs.ts');
  const { createClassifier, MODEL_NAMES } = await import(process.argv[1] + '/index.ts');
  const digest = createHash('sha256');
  for (const name of [...MODEL_NAMES].reverse()) {
    for (const kind of ['bits', 'dense']) {
      const { x, y } = inputOf(kind);
      const model = createClassifier(name, {}, 42);
      model.fit(x, y, TRAIN_ROWS);
      digest.update(model.predictProbability(x, TEST_ROWS));
    }
  }
  console.log(digest.digest('hex'));
`;

it('another process makes the same bits of the same seed, however warm the compiler is', async () => {
  const expected = createHash('sha256');
  for (const name of [...MODEL_NAMES].reverse()) {
    for (const kind of ['bits', 'dense'] as const) {
      const { x, y } = inputOf(kind);
      let probability: Float64Array = new Float64Array(0);
      for (let round = 0; round < 3; round++) {
        const model = createClassifier(name, {}, 42);
        model.fit(x, y, TRAIN_ROWS);
        probability = model.predictProbability(x, TEST_ROWS);
      }
      expected.update(probability);
    }
  }
  const child = await promisify(execFile)(process.execPath, [
    '--input-type=module',
    '--eval',
    CHILD,
    import.meta.dirname,
  ]);
  expect(child.stdout.trim()).toBe(expected.digest('hex'));
});
