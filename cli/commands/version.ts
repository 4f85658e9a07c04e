import { Command } from 'commander';
import { packageVersion } from '../../native/package.ts';
import type { CommandBuilder } from '../context.ts';

export const versionCommand: CommandBuilder = (context) =>
  new Command('version')
    .description('show the versions of Clove, Node and this system')
    .action((_options, command: Command) => {
      const { json, terminal } = context(command);
      const versions = {
        clove: packageVersion(),
        node: process.versions.node,
        v8: process.versions.v8,
        sqlite: process.versions.sqlite ?? null,
        platform: `${process.platform}-${process.arch}`,
      };
      if (json) terminal.out(JSON.stringify(versions));
      else
        terminal.out(
          Object.entries(versions)
            .map(([name, value]) => `${name.padEnd(9)} ${value}`)
            .join('\n'),
        );
    });
