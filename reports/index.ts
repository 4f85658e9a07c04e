/** Pure functions from the record of a run to what people read, and the schema of that record. */

export {
  CHANGE_COLUMNS,
  changeCells,
  historyCells,
  historyColumns,
  OUTCOME_TEXT,
  outcomeSentence,
  shownMetrics,
} from './comparison/figures.ts';
export { githubAnnotations } from './comparison/github.ts';
export { renderHistoryHtml } from './comparison/render-history.ts';
export { renderComparisonHtml } from './comparison/render-html.ts';
export { renderJunit } from './comparison/render-junit.ts';
export { renderComparisonMarkdown } from './comparison/render-markdown.ts';
export { renderHtml } from './render-html.ts';
export { renderMarkdown } from './render-markdown.ts';
export { parseResults, resultsSchema } from './schema.ts';
export { type WrittenReports, writeReports } from './write.ts';
