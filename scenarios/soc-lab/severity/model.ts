import type { RandomStream } from '../../../worlds/index.ts';
import { type Classifier, createClassifier, type FeatureMatrix } from '../../drug-discovery/ml/index.ts';
import { FEATURE_NAMES, featuresOf } from './features.ts';
import { generateIncidents, type LabelledIncident } from './generate.ts';
import { type Incident, SEVERITIES, type Severity } from './incident.ts';

export interface Triage {
  readonly severity: Severity;
  /** Probability of that severity, 0..1. */
  readonly confidence: number;
}

export interface ClassReport {
  readonly severity: Severity;
  readonly precision: number | null;
  readonly recall: number | null;
  readonly f1: number | null;
  readonly support: number;
}

/** On incidents the model was not fitted to. */
export interface Evaluation {
  readonly trainCount: number;
  readonly testCount: number;
  readonly accuracy: number;
  readonly classes: readonly ClassReport[];
  /** Rows: true severity, columns: predicted, in the order of SEVERITIES. */
  readonly confusion: readonly (readonly number[])[];
}

/** Severity is ordered, so the model is three questions: at least medium? at least high? critical? */
export class SeverityModel {
  readonly #thresholds: readonly Classifier[];

  /** Deterministic for the same incidents and seed. */
  constructor(incidents: readonly LabelledIncident[], seed: number) {
    const x = matrixOf(incidents.map(({ incident }) => incident));
    const rows = Int32Array.from(incidents.keys());
    this.#thresholds = [1, 2, 3].map((least) => {
      const y = Uint8Array.from(incidents, ({ severity }) => (SEVERITIES.indexOf(severity) >= least ? 1 : 0));
      const classifier = createClassifier(
        'gradient_boosting',
        { nEstimators: 300, maxDepth: 2, learningRate: 0.3 },
        seed + least,
      );
      classifier.fit(x, y, rows);
      return classifier;
    });
  }

  judge(incident: Incident): Triage {
    return this.judgeAll([incident])[0] as Triage;
  }

  judgeAll(incidents: readonly Incident[]): Triage[] {
    const x = matrixOf(incidents);
    const rows = Int32Array.from(incidents.keys());
    const atLeast = this.#thresholds.map((classifier) => classifier.predictProbability(x, rows));
    return incidents.map((_, row) => {
      // P(at least k), made to fall with k: three independent answers may contradict each other by a hair.
      const tail = [1];
      for (const probability of atLeast)
        tail.push(Math.min(tail.at(-1) as number, probability[row] as number));
      const probabilities = SEVERITIES.map((_name, k) => (tail[k] as number) - (tail[k + 1] ?? 0));
      const best = probabilities.indexOf(Math.max(...probabilities));
      return { severity: SEVERITIES[best] as Severity, confidence: probabilities[best] as number };
    });
  }
}

/** Splits once by chance, fits on four fifths and evaluates on the rest, which had no part in the fit. */
export function trainSeverityModel(
  random: RandomStream,
  seed: number,
  count = 6000,
): { readonly model: SeverityModel; readonly evaluation: Evaluation } {
  const incidents = generateIncidents(count, random);
  const cut = Math.floor(incidents.length * 0.8);
  const train = incidents.slice(0, cut);
  const test = incidents.slice(cut);
  const model = new SeverityModel(train, seed);
  return { model, evaluation: evaluate(model, test, train.length) };
}

export function evaluate(
  model: SeverityModel,
  test: readonly LabelledIncident[],
  trainCount: number,
): Evaluation {
  const predicted = model.judgeAll(test.map(({ incident }) => incident));
  const confusion = SEVERITIES.map(() => SEVERITIES.map(() => 0));
  test.forEach(({ severity }, row) => {
    const line = confusion[SEVERITIES.indexOf(severity)] as number[];
    const column = SEVERITIES.indexOf((predicted[row] as Triage).severity);
    line[column] = (line[column] as number) + 1;
  });
  const at = (row: number, column: number) => confusion[row]?.[column] ?? 0;
  const correct = SEVERITIES.reduce((sum, _, k) => sum + at(k, k), 0);
  return {
    trainCount,
    testCount: test.length,
    accuracy: correct / test.length,
    confusion,
    classes: SEVERITIES.map((severity, k) => {
      const support = SEVERITIES.reduce((sum, _, column) => sum + at(k, column), 0);
      const called = SEVERITIES.reduce((sum, _, row) => sum + at(row, k), 0);
      const precision = called === 0 ? null : at(k, k) / called;
      const recall = support === 0 ? null : at(k, k) / support;
      const f1 =
        precision === null || recall === null || precision + recall === 0
          ? null
          : (2 * precision * recall) / (precision + recall);
      return { severity, precision, recall, f1, support };
    }),
  };
}

function matrixOf(incidents: readonly Incident[]): FeatureMatrix {
  return {
    kind: 'dense',
    rows: incidents.length,
    columns: FEATURE_NAMES.length,
    values: Float64Array.from(incidents.flatMap(featuresOf)),
  };
}
