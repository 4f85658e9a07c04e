import path from 'node:path';
import { Command } from 'commander';
import { SOCKET_OPTION, withKernel } from '../../connect.ts';
import type { CommandBuilder } from '../../context.ts';
import { escapeLine } from '../../ui/escape.ts';
import type { SocketFlag } from './create.ts';

export const snapshotCommand: CommandBuilder = (context) =>
  new Command('snapshot')
    .description('keep a world in one file: files, network, clock, luck, schedule, events, state, messages')
    .argument('<world>', 'its id')
    .argument('<file>', 'where to; replaced in one step')
    .addOption(SOCKET_OPTION())
    .action(async (id: string, file: string, flags: SocketFlag, command: Command) => {
      const cli = context(command);
      const made = await withKernel(flags, (client) =>
        client.snapshotWorld(id, { path: path.resolve(file), timeoutMs: null }),
      );
      if (cli.json) cli.terminal.out(JSON.stringify(made));
      else cli.terminal.out(`${escapeLine(file)}: ${made.snapshot_id}`);
    });

export const restoreCommand: CommandBuilder = (context) =>
  new Command('restore')
    .description('make a world from a file of `snapshot`; its time goes on where it stood')
    .argument('<file>', 'of the kernel’s host')
    .option('--id <id>', 'for the new world (default: made from its name)')
    .addOption(SOCKET_OPTION())
    .action(async (file: string, flags: SocketFlag & { id?: string }, command: Command) => {
      const cli = context(command);
      const made = await withKernel(flags, (client) =>
        client.restoreWorld(
          { path: path.resolve(file) },
          { timeoutMs: null, ...(flags.id === undefined ? {} : { newWorldId: flags.id }) },
        ),
      );
      if (cli.json) cli.terminal.out(JSON.stringify(made));
      else cli.terminal.out(`world ${escapeLine(made.world_id)}: ${made.world.world_time}`);
    });
