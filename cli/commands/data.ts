import { Command, Option } from 'commander';
import { CloveError } from '../../errors/index.ts';
import type { DataSource } from '../../scenarios/drug-discovery/data/resolve.ts';
import type { DatasetDefinition } from '../../scenarios/drug-discovery/data/sources.ts';
import type { CommandBuilder } from '../context.ts';
import { escapeLine } from '../ui/escape.ts';
import { formatBytes } from '../ui/format.ts';
import { interruptible } from '../ui/interrupt.ts';
import { renderTable } from '../ui/table.ts';

export const dataCommand: CommandBuilder = (context) => {
  const data = new Command('data').description('fetch and list the measured data sets');
  data.addCommand(fetchCommand(context));
  data.addCommand(listCommand(context));
  return data;
};

const fetchCommand: CommandBuilder = (context) =>
  new Command('fetch')
    .description('download the published data sets into the cache, checked by SHA-256 (needs the internet)')
    .argument('[names...]', 'data sets (default: all)')
    .action(async (names: string[], _flags, command: Command) => {
      const cli = context(command);
      const { fetchDatasets } = await import('../../scenarios/drug-discovery/data/fetch.ts');
      const { datasetCacheDirectory } = await import('../../scenarios/drug-discovery/data/directories.ts');
      const { DATASETS } = await import('../../scenarios/drug-discovery/data/sources.ts');
      const wanted = select(Object.values(DATASETS), names);
      const directory = datasetCacheDirectory();
      const fetched = await interruptible(cli.terminal, (signal) =>
        fetchDatasets({
          directory,
          datasets: wanted,
          signal,
          onProgress: ({ dataset, state, receivedBytes, totalBytes }) => {
            cli.terminal.event({ type: 'fetch', dataset, state, receivedBytes, totalBytes });
            if (state === 'fetching') {
              cli.terminal.live([
                `  ${dataset}: ${formatBytes(receivedBytes)} of ${formatBytes(totalBytes)}`,
              ]);
            } else if (state === 'fetched') cli.terminal.note(`  ${dataset}: fetched, checksum right`);
            else cli.terminal.note(`  ${dataset}: there already, checksum right`);
          },
        }),
      );
      cli.terminal.endLive();
      if (cli.json) cli.terminal.out(JSON.stringify({ directory, datasets: fetched }));
      else cli.terminal.out(`${fetched.length} data sets in ${escapeLine(directory)}`);
    });

interface ListRow {
  readonly dataset: string;
  readonly endpoint: string;
  readonly rows: number;
  readonly positives: number;
  readonly used: string;
  readonly kind: 'measured' | 'synthetic' | 'none';
  readonly license: string;
}

const listCommand: CommandBuilder = (context) =>
  new Command('list')
    .description('list the data sets and where a run would read each from now')
    .addOption(new Option('--data <dir>', 'folder with the measured data sets').env('CLOVE_DATA'))
    .action(async (flags: { data?: string }, command: Command) => {
      const cli = context(command);
      const { resolveSources } = await import('../../scenarios/drug-discovery/data/resolve.ts');
      const { DATASETS } = await import('../../scenarios/drug-discovery/data/sources.ts');
      const rows = Object.values(DATASETS).map((definition): ListRow => {
        const facts = {
          dataset: definition.name,
          endpoint: definition.endpoint,
          rows: definition.rows,
          positives: definition.positives,
          license: definition.license,
        };
        try {
          const [source] = resolveSources({
            datasets: [definition.name],
            directory: flags.data || undefined,
          });
          return {
            ...facts,
            used: describe(source as DataSource),
            kind: source?.kind === 'file' ? 'measured' : 'synthetic',
          };
        } catch (error) {
          if (!(error instanceof CloveError)) throw error;
          return { ...facts, used: `${error.message} [${error.code}]`, kind: 'none' };
        }
      });
      if (cli.json) {
        cli.terminal.out(JSON.stringify(rows));
        return;
      }
      cli.terminal.out(
        renderTable<ListRow>(
          [
            { title: 'data set', value: ({ dataset }) => dataset },
            { title: 'label 1 means', value: ({ endpoint }) => endpoint },
            { title: 'rows', align: 'right', value: (row) => String(row.rows) },
            { title: 'positive', align: 'right', value: ({ positives }) => String(positives) },
            { title: 'a run would use', value: ({ used }) => escapeLine(used) },
          ],
          rows,
        ),
      );
      if (rows.some(({ kind }) => kind === 'synthetic')) {
        cli.terminal.out(
          '\nrule-labelled, synthetic data say nothing about real molecules; clove data fetch brings the measured ones',
        );
      }
    });

function describe(source: DataSource): string {
  return source.kind === 'file' ? `${source.path} (${source.provenance})` : source.provenance;
}

/** Throws USAGE for a name that is none. */
function select(all: readonly DatasetDefinition[], names: readonly string[]): readonly DatasetDefinition[] {
  if (names.length === 0) return all;
  return names.map((name) => {
    const found = all.find((definition) => definition.name.toLowerCase() === name.toLowerCase());
    if (found) return found;
    throw new CloveError('USAGE', `there is no data set '${name}'`, {
      hint: `there are: ${all.map((definition) => definition.name).join(', ')}`,
    });
  });
}
