import { BitSplitter } from './forest-bits.ts';
import { DenseSplitter } from './forest-dense.ts';
import type { Node, Samples, Splitter } from './forest-splitter.ts';
import { Random } from './random.ts';
import { gatherLabels } from './training-set.ts';
import { addPredictions, type Tree, TreeBuilder } from './tree.ts';
import type { Classifier, FeatureMatrix, Prediction, RandomForestParameters } from './types.ts';

/** Columns tried at every split. */
function columnsToTry(rule: RandomForestParameters['maxFeatures'], columns: number): number {
  if (rule === null) return columns;
  const wanted = rule === 'sqrt' ? Math.sqrt(columns) : rule === 'log2' ? Math.log2(columns) : rule * columns;
  return Math.max(1, Math.floor(wanted));
}

/** Gini trees on bootstrap samples; the probability is the mean of the leaves' class shares. */
export class RandomForest implements Classifier {
  readonly warnings: readonly string[] = [];
  private readonly parameters: RandomForestParameters;
  private readonly seed: number;
  trees: readonly Tree[] = [];

  constructor(parameters: RandomForestParameters, seed: number) {
    this.parameters = parameters;
    this.seed = seed;
  }

  fit(x: FeatureMatrix, y: Uint8Array, trainRows: Int32Array): void {
    const labels = gatherLabels(y, trainRows);
    const tries = columnsToTry(this.parameters.maxFeatures, x.columns);
    const { minSamplesLeaf } = this.parameters;
    const splitter: Splitter =
      x.kind === 'bits'
        ? new BitSplitter(x, trainRows, tries, minSamplesLeaf)
        : new DenseSplitter(x, trainRows, tries, minSamplesLeaf);
    const workspace = new Workspace(labels.length);
    this.trees = Array.from({ length: this.parameters.nEstimators }, (_, tree) =>
      this.growTree(splitter, labels, new Random(this.seed, tree), workspace),
    );
  }

  predictProbability(x: FeatureMatrix, rows: Int32Array): Float64Array {
    const probability = new Float64Array(rows.length);
    for (const tree of this.trees) addPredictions(tree, x, rows, 1, probability);
    for (let i = 0; i < rows.length; i++) probability[i]! /= this.trees.length;
    return probability;
  }

  predict(x: FeatureMatrix, rows: Int32Array): Prediction {
    const probability = this.predictProbability(x, rows);
    // A draw goes to class 0: argmax takes the first.
    return { probability, predicted: Uint8Array.from(probability, (p) => (p > 0.5 ? 1 : 0)) };
  }

  private growTree(splitter: Splitter, labels: Uint8Array, random: Random, workspace: Workspace): Tree {
    const { samples, builder } = workspace;
    const distinct = this.drawSamples(labels, random, workspace);
    const { maxDepth, minSamplesSplit, minSamplesLeaf } = this.parameters;
    const deepest = maxDepth ?? Number.POSITIVE_INFINITY;
    const pending: (Node & { readonly id: number; readonly depth: number })[] = [];
    const add = (id: number, depth: number, start: number, end: number, weight: number, positive: number) => {
      builder.setValue(id, positive / weight);
      const pure = positive === 0 || positive === weight;
      const small = end - start < minSamplesSplit || end - start < 2 * minSamplesLeaf;
      if (!pure && !small && depth < deepest) pending.push({ id, depth, start, end, weight, positive });
    };
    let weight = 0;
    let positive = 0;
    for (let at = 0; at < distinct; at++) {
      weight += samples.weights[at]!;
      positive += samples.positives[at]!;
    }
    add(builder.addLeaf(0), 0, 0, distinct, weight, positive);
    for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
      if (!splitter.search(samples, node, random)) continue;
      const middle = splitter.partition(samples, node);
      const left = builder.split(node.id, splitter.column, splitter.threshold);
      const { leftWeight, leftPositive } = splitter;
      const rightWeight = node.weight - leftWeight;
      add(left + 1, node.depth + 1, middle, node.end, rightWeight, node.positive - leftPositive);
      add(left, node.depth + 1, node.start, middle, leftWeight, leftPositive);
    }
    return builder.finish();
  }

  /** Fills the workspace; returns how many different rows were drawn. */
  private drawSamples(labels: Uint8Array, random: Random, { drawn, samples }: Workspace): number {
    const { positions, weights, positives } = samples;
    if (this.parameters.bootstrap) {
      drawn.fill(0);
      for (let draw = 0; draw < labels.length; draw++) drawn[random.below(labels.length)]!++;
    } else drawn.fill(1);
    let distinct = 0;
    for (let position = 0; position < labels.length; position++) {
      const times = drawn[position]!;
      if (times === 0) continue;
      positions[distinct] = position;
      weights[distinct] = times;
      positives[distinct++] = times * labels[position]!;
    }
    return distinct;
  }
}

/** What each tree needs while it grows, made once for all of them: memory that is new costs more than the work in it. */
class Workspace {
  readonly drawn: Int32Array;
  readonly samples: Samples;
  readonly builder = new TreeBuilder();

  constructor(rows: number) {
    this.drawn = new Int32Array(rows);
    this.samples = {
      positions: new Int32Array(rows),
      weights: new Int32Array(rows),
      positives: new Int32Array(rows),
    };
  }
}
