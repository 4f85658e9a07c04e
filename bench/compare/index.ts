/** Comparing runs: sides, verdicts, baselines, the gate. */
export { baselineOf, parseBaseline, readJson, writeBaseline } from './baseline.ts';
export { type CompareOptions, compare, DEFAULT_COMPARE } from './compare.ts';
export { parseRules } from './gate.ts';
export { historyOf } from './history.ts';
export { measuredOf } from './measured.ts';
export { havingParameters, parseSide } from './select.ts';
