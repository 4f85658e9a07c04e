import { CloveError } from '../../../errors/index.ts';
import type { Classifier, FeatureMatrix, Prediction } from './types.ts';

/**
 * Stands before a learner and refuses what it would silently get wrong: typed arrays answer a wrong index with
 * `undefined` and drop a wrong write.
 */
export class CheckedClassifier implements Classifier {
  private readonly learner: Classifier;
  private fitted: { readonly kind: FeatureMatrix['kind']; readonly columns: number } | undefined;

  constructor(learner: Classifier) {
    this.learner = learner;
  }

  get warnings(): readonly string[] {
    return this.learner.warnings;
  }

  fit(x: FeatureMatrix, y: Uint8Array, trainRows: Int32Array): void {
    this.fitted = undefined;
    checkLabels(x, y, trainRows);
    checkFeatures(x, trainRows);
    this.learner.fit(x, y, trainRows);
    this.fitted = { kind: x.kind, columns: x.columns };
  }

  predictProbability(x: FeatureMatrix, rows: Int32Array): Float64Array {
    this.checkFitted(x, rows);
    return this.learner.predictProbability(x, rows);
  }

  predict(x: FeatureMatrix, rows: Int32Array): Prediction {
    this.checkFitted(x, rows);
    return this.learner.predict(x, rows);
  }

  private checkFitted(x: FeatureMatrix, rows: Int32Array): void {
    if (this.fitted === undefined) throw new CloveError('CONFIG', 'this classifier was not fitted');
    const { kind, columns } = this.fitted;
    if (x.kind !== kind || x.columns !== columns) {
      throw new CloveError(
        'CONFIG',
        `fitted to ${columns} columns of ${kind} features, asked about ${x.columns} columns of ${x.kind}`,
      );
    }
    checkFeatures(x, rows);
  }
}

function checkLabels(x: FeatureMatrix, y: Uint8Array, trainRows: Int32Array): void {
  if (y.length !== x.rows)
    throw new CloveError('CONFIG', `${x.rows} rows of features but ${y.length} labels`);
  let positives = 0;
  for (const row of trainRows) {
    const label = y[row];
    // A row that is not there is reported with the features.
    if (label === undefined) continue;
    if (label > 1) throw new CloveError('CONFIG', `the label of row ${row} is ${label}, not 0 or 1`);
    positives += label;
  }
  if (positives === 0 || positives === trainRows.length) {
    throw new CloveError('CONFIG', `all ${trainRows.length} training rows are of one class`);
  }
}

function checkFeatures(x: FeatureMatrix, rows: Int32Array): void {
  const stride = x.kind === 'bits' ? Math.ceil(x.columns / 32) : x.columns;
  const length = x.kind === 'bits' ? x.words.length : x.values.length;
  if (length !== x.rows * stride) {
    throw new CloveError('CONFIG', `${x.rows} × ${stride} entries of features expected, ${length} found`);
  }
  // x >>> 32 is x >>> 0, hence the case of its own.
  const beyond = x.columns % 32 === 0 ? 0 : (-1 << (x.columns % 32)) >>> 0;
  for (const row of rows) {
    if (row < 0 || row >= x.rows)
      throw new CloveError('CONFIG', `row ${row} is not one of the ${x.rows} rows`);
    if (x.kind === 'bits') {
      if ((x.words[(row + 1) * stride - 1]! & beyond) !== 0) {
        throw new CloveError('CONFIG', `row ${row} has bits beyond its ${x.columns} columns`);
      }
      continue;
    }
    for (let at = row * stride; at < (row + 1) * stride; at++) {
      if (!Number.isFinite(x.values[at])) {
        throw new CloveError('CONFIG', `row ${row}, column ${at - row * stride} is ${x.values[at]}`);
      }
    }
  }
}
