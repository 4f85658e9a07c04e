import { Command, Option } from 'commander';
import type { SyscallResponse } from '../../sdk/typescript/index.ts';
import { parseTarget, SOCKET_OPTION, withKernel } from '../connect.ts';
import type { CliContext, CommandBuilder } from '../context.ts';
import { escapeLine } from '../ui/escape.ts';
import { parseBytes, parseCount } from '../ui/parse.ts';

interface SocketFlag {
  readonly socket?: string;
}

interface StartFlags extends SocketFlag {
  readonly agent: readonly string[];
  readonly redact: readonly string[];
  readonly maxCalls?: string;
  readonly maxSize?: string;
}

type Status = Omit<SyscallResponse<'RECORD_STATUS'>, 'recording' | 'success'>;

export const recordCommand: CommandBuilder = (context) => {
  const record = new Command('record').description('record the calls of agents of a running kernel');
  record.addCommand(startCommand(context));
  record.addCommand(stopCommand(context));
  record.addCommand(statusCommand(context));
  return record;
};

const startCommand: CommandBuilder = (context) =>
  new Command('start')
    .description('begin a recording; start it before the agents, so that they can be replayed')
    .addOption(SOCKET_OPTION())
    .addOption(
      new Option('--agent <id-or-name>', 'only this one, also one that starts later (repeatable)')
        .argParser(collect)
        .default([]),
    )
    .addOption(
      new Option('--redact <name>', 'name whose values are secrets, `*` = any text (repeatable)')
        .argParser(collect)
        .default([]),
    )
    .option('--max-calls <n>', 'pause after so many (default: 50000)')
    .option('--max-size <size>', 'pause when the file is so large (default: 1G)')
    .action(async (flags: StartFlags, command: Command) => {
      const cli = context(command);
      const targets = flags.agent.map(parseTarget);
      await withKernel(flags, async (client) => {
        const { file, ...rest } = await client.startRecording({
          filter_agents: targets.filter((target) => typeof target === 'number'),
          filter_names: targets.filter((target) => typeof target === 'string'),
          redact_names: [...flags.redact],
          max_entries: flags.maxCalls === undefined ? 50_000 : parseCount(flags.maxCalls, '--max-calls'),
          max_bytes: flags.maxSize === undefined ? 2 ** 30 : parseBytes(flags.maxSize, '--max-size'),
        });
        if (cli.json) cli.terminal.out(JSON.stringify({ file, ...rest }));
        else cli.terminal.out(`recording into ${escapeLine(file ?? '')}`);
      });
    });

const stopCommand: CommandBuilder = (context) =>
  new Command('stop')
    .description('end the recording and print its file')
    .addOption(SOCKET_OPTION())
    .action(async (flags: SocketFlag, command: Command) => {
      const cli = context(command);
      await withKernel(flags, async (client) => {
        const stopped = await client.stopRecording();
        if (cli.json) cli.terminal.out(JSON.stringify(stopped));
        else {
          cli.terminal.out(escapeLine(stopped.file ?? ''));
          tellLosses(cli, stopped);
        }
      });
    });

const statusCommand: CommandBuilder = (context) =>
  new Command('status')
    .description('how the recording stands')
    .addOption(SOCKET_OPTION())
    .action(async (flags: SocketFlag, command: Command) => {
      const cli = context(command);
      await withKernel(flags, async (client) => {
        const status = await client.recordingStatus();
        if (cli.json) {
          cli.terminal.out(JSON.stringify(status));
          return;
        }
        const reason = status.pause_reason === null ? '' : ` (${status.pause_reason})`;
        const file = status.file === null ? '' : `, ${escapeLine(status.file)}`;
        cli.terminal.out(`${status.state}${reason}, ${status.calls_recorded} calls${file}`);
        tellLosses(cli, status);
      });
    });

function tellLosses(cli: CliContext, { calls_lost }: Pick<Status, 'calls_lost'>): void {
  if (calls_lost > 0)
    cli.terminal.warn(`${calls_lost} calls are not in the recording; the file says so, too`);
}

function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}
