import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { contentKey } from '../../../bench/keys.ts';
import type { Trial } from '../../../bench/types.ts';
import { writeFileAtomically } from '../data/atomic-write.ts';
import { type Features, readFeatures } from '../data/features-file.ts';
import { splitRows } from '../data/split.ts';
import type { ExperimentInput } from '../worker.ts';

/**
 * Gives each trial the file of its split, made where it is missing: the Python worker gets the very rows that the TypeScript one
 * draws for itself.
 */
export function withSplitFiles(trials: readonly Trial[], folder: string): Trial[] {
  const read = new Map<string, Features>();
  return trials.map((trial) => {
    const { featuresFile, split, splitSeed } = trial.input as unknown as ExperimentInput;
    const splitFile = join(folder, `${contentKey([basename(featuresFile), split, splitSeed])}.split.json`);
    if (!existsSync(splitFile)) {
      const { labels, scaffolds } = read.getOrInsertComputed(featuresFile, readFeatures);
      const { train, valid, test } = splitRows({ method: split, seed: splitSeed, labels, scaffolds });
      const text = JSON.stringify({ train: [...train], valid: [...valid], test: [...test] });
      writeFileAtomically(splitFile, [Buffer.from(text)]);
    }
    return { ...trial, input: { ...trial.input, splitFile } };
  });
}
