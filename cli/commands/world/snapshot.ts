import path from 'node:path';
import { Command } from 'commander';
import type { SyscallResponse } from '../../../sdk/typescript/types.ts';
import { SOCKET_OPTION, withKernel } from '../../connect.ts';
import type { CommandBuilder } from '../../context.ts';
import { escapeLine } from '../../ui/escape.ts';
import { formatDuration } from '../../ui/format.ts';
import { parseVariable } from '../run.ts';
import type { SocketFlag } from './create.ts';
import { WORLD_ARGUMENT, withWorld } from './target.ts';

interface RestoreFlags extends SocketFlag {
  readonly id?: string;
  readonly agents?: true;
  readonly agentsEnv: readonly string[];
}

export const snapshotCommand: CommandBuilder = (context) =>
  new Command('snapshot')
    .description('keep a world in one file: files, network, clock, luck, schedule, events, state, messages')
    .argument('<world>', WORLD_ARGUMENT)
    .argument('<file>', 'where to; replaced in one step')
    .addOption(SOCKET_OPTION())
    .action(async (named: string, file: string, flags: SocketFlag, command: Command) => {
      const cli = context(command);
      const made = await withWorld(flags, named, (client, id) =>
        client.snapshotWorld(id, { path: path.resolve(file), timeoutMs: null }),
      );
      if (cli.json) cli.terminal.out(JSON.stringify(made));
      else cli.terminal.out(`${escapeLine(file)}: ${made.snapshot_id}`);
      for (const { name, reason } of made.agents)
        if (reason !== null)
          cli.terminal.note(escapeLine(`agent ${name} would not come back with it: ${reason}`));
    });

export const restoreCommand: CommandBuilder = (context) =>
  new Command('restore')
    .description('make a world from a file of `snapshot`; its time goes on where it stood')
    .argument('<file>', 'of the kernel’s host')
    .option('--id <id>', 'for the new world (default: made from its name)')
    .option('--agents', 'start its agents again, with the state they left: only of a snapshot you trust')
    .option(
      '--agents-env <name=value>',
      'a secret variable of theirs, which no snapshot keeps (repeatable)',
      collect,
      [],
    )
    .addHelpText(
      'after',
      `
Examples:
  clove world restore lab.world
  clove world restore lab.world --agents --agents-env API_TOKEN=…

Agents that answer checkpoints (onCheckpoint, on_checkpoint) or have left a state come back with it; of others in virtual worlds those that were
recorded from their start (clove record start) live again through what they did. Each that does not come back is named.`,
    )
    .addOption(SOCKET_OPTION())
    .action(async (file: string, flags: RestoreFlags, command: Command) => {
      const cli = context(command);
      const made = await withKernel(flags, (client) =>
        client.restoreWorld(
          { path: path.resolve(file) },
          {
            timeoutMs: null,
            ...(flags.id === undefined ? {} : { newWorldId: flags.id }),
            ...(flags.agents === true ? { agents: true } : {}),
            ...(flags.agentsEnv.length === 0
              ? {}
              : { agentsEnv: Object.fromEntries(flags.agentsEnv.map(parseVariable)) }),
          },
        ),
      );
      if (cli.json) cli.terminal.out(JSON.stringify(made));
      else {
        cli.terminal.out(`world ${escapeLine(made.world_id)}: ${made.world.world_time}`);
        for (const agent of made.agents) cli.terminal.out(escapeLine(lineOf(agent)));
      }
    });

function lineOf({
  name,
  how,
  behind_ms,
  agent_id,
  reason,
}: SyscallResponse<'WORLD_RESTORE'>['agents'][number]): string {
  if (how === 'not') return `agent ${name} did not come back: ${reason}`;
  const old = how === 'kept' ? `, left ${formatDuration(behind_ms ?? 0)} before the snapshot` : '';
  if (how === 'replay') return `agent ${name} is back as ${agent_id}: it lived again through what it did`;
  return `agent ${name} is back as ${agent_id}, with its state${old}`;
}

function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}
