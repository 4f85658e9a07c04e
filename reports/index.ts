/** Pure functions from the record of a run to what people read, and the schema of that record. */
export { renderHtml } from './render-html.ts';
export { renderMarkdown } from './render-markdown.ts';
export { parseResults, resultsSchema } from './schema.ts';
export { type WrittenReports, writeReports } from './write.ts';
