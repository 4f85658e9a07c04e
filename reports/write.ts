import path from 'node:path';
import type { RunResults } from '../bench/types.ts';
import { writeFileAtomically } from '../bench/write-file.ts';
import { renderHtml } from './render-html.ts';
import { renderMarkdown } from './render-markdown.ts';

export interface WrittenReports {
  readonly html: string;
  readonly markdown: string;
}

/**
 * Draws report.html and report.md into a run's folder and answers their paths. Each file appears whole or not at all:
 * it is written beside its place, synced and renamed. Throws CloveError IO.
 */
export async function writeReports(runDirectory: string, results: RunResults): Promise<WrittenReports> {
  const written = {
    html: path.join(runDirectory, 'report.html'),
    markdown: path.join(runDirectory, 'report.md'),
  };
  writeFileAtomically(written.markdown, renderMarkdown(results));
  writeFileAtomically(written.html, await renderHtml(results));
  return written;
}
