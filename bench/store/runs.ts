/** The folder of runs: one folder a run, named so that they sort by time and can be told apart by a reader. */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CloveError } from '../../errors/index.ts';

/** `--runs-dir`, else $CLOVE_RUNS, else ./runs; absolute. */
export function runsDirectory(given: string | null): string {
  return resolve(given ?? process.env.CLOVE_RUNS ?? 'runs');
}

/** E.g. `20261120-051233-drug-discovery-k3f9`: UTC start, scenario, something that two starts in one second do not share. */
export function makeRunId(scenario: string, startedAt: Date): string {
  const [date, time] = startedAt.toISOString().replace(/[-:]/g, '').split(/[T.]/);
  return `${date}-${time}-${scenario}-${randomBytes(2).toString('hex')}`;
}

/** What `makeRunId` gives, with letters for what is known only at the start. */
export function runIdForm(scenario: string): string {
  return `YYYYMMDD-HHMMSS-${scenario}-xxxx`;
}

/** Folders of all runs, newest first. */
export function listRunDirectories(runs: string): string[] {
  if (!existsSync(runs)) return [];
  return readdirSync(runs, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(runs, entry.name, 'run.db')))
    .map((entry) => join(runs, entry.name))
    .sort()
    .reverse();
}

/** The folder of one run: by its whole id, by an unambiguous part of it, or `latest`. Throws RUN_NOT_FOUND, USAGE when ambiguous. */
export function findRunDirectory(runs: string, wanted: string): string {
  const all = listRunDirectories(runs);
  const name = (directory: string) => directory.slice(directory.lastIndexOf('/') + 1);
  const matches =
    wanted === 'latest' ? all.slice(0, 1) : all.filter((directory) => name(directory) === wanted);
  const found = matches.length > 0 ? matches : all.filter((directory) => name(directory).includes(wanted));
  if (wanted === '' || found.length === 0)
    throw new CloveError('RUN_NOT_FOUND', `there is no run "${wanted}" in ${runs}`, {
      hint: 'clove bench list shows the runs there are.',
    });
  if (found.length > 1)
    throw new CloveError('USAGE', `"${wanted}" names ${found.length} runs`, {
      hint: `For example ${found.slice(0, 3).map(name).join(', ')}.`,
    });
  return found[0] as string;
}
