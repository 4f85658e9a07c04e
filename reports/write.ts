import { open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import type { RunResults } from '../bench/types.ts';
import { CloveError } from '../errors/index.ts';
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
  await writeAtomically(written.markdown, renderMarkdown(results));
  await writeAtomically(written.html, await renderHtml(results));
  return written;
}

async function writeAtomically(file: string, content: string): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    const handle = await open(temporary, 'w', 0o644);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (cause) {
    await rm(temporary, { force: true });
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CloveError('IO', `cannot write ${file}: ${reason}`, { cause });
  }
}
