import { Command } from 'commander';
import { CloveError } from '../../../errors/index.ts';
import { parseTarget, SOCKET_OPTION } from '../../connect.ts';
import type { CommandBuilder } from '../../context.ts';
import { EXIT } from '../../exit-codes.ts';
import { escapeLine, escapeText } from '../../ui/escape.ts';
import { formatDuration } from '../../ui/format.ts';
import { parseDuration } from '../../ui/parse.ts';
import type { SocketFlag } from './create.ts';
import { WORLD_ARGUMENT, withWorld } from './target.ts';

export const eventCommand: CommandBuilder = (context) =>
  new Command('event')
    .description('let something happen in a world: a full disk, a partition, a crash; or end it')
    .argument('<world>', WORLD_ARGUMENT)
    .argument('<type>', 'such as disk_full; "clear" ends one (event_id=…) or all; "list" tells the types')
    .argument('[params...]', 'name=value; values are JSON or text')
    .option('--for <duration>', 'how long it lasts, in the world’s time (default: until it is cleared)')
    .addOption(SOCKET_OPTION())
    .addHelpText(
      'after',
      `
Examples:
  clove world event shop-0001 disk_full path='/var/**' --for 10m
  clove world event shop-0001 error_rate hosts=api.stripe.test probability=0.3 status=503
  clove world event shop-0001 clear`,
    )
    .action(
      async (
        named: string,
        type: string,
        params: string[],
        flags: SocketFlag & { for?: string },
        command: Command,
      ) => {
        const cli = context(command);
        if (type === 'list') {
          const { EVENT_KINDS } = await import('../../../worlds/chaos/kinds.ts');
          for (const [name, { summary }] of Object.entries(EVENT_KINDS))
            cli.terminal.out(`${name.padEnd(20)}${summary}`);
          return;
        }
        const request = {
          ...Object.fromEntries(params.map(parseParam)),
          ...(flags.for === undefined ? {} : { duration_ms: parseDuration(flags.for, '--for') }),
        };
        const event = await withWorld(flags, named, (client, id) => client.worldEvent(id, type, request));
        if (cli.json) cli.terminal.out(JSON.stringify(event));
        else if (event.cleared !== undefined) cli.terminal.out(`${event.cleared} ended`);
        else {
          const until =
            event.until_ms === null ? '' : `, until ${formatDuration(event.until_ms)} of the world’s time`;
          cli.terminal.out(`${escapeLine(event.event_type)}: ${event.event_id}${until}`);
        }
      },
    );

function parseParam(text: string): [string, unknown] {
  const at = text.indexOf('=');
  if (at < 1) throw new CloveError('USAGE', `expected name=value: ${text}`);
  const value = text.slice(at + 1);
  try {
    return [text.slice(0, at), JSON.parse(value)];
  } catch {
    return [text.slice(0, at), value];
  }
}

export const advanceCommand: CommandBuilder = (context) =>
  new Command('advance')
    .description('move a world’s clock; what was due in between happens in its order')
    .argument('<world>', WORLD_ARGUMENT)
    .argument('<duration>', 'such as 90s, 10m, 8h')
    .addOption(SOCKET_OPTION())
    .action(async (named: string, duration: string, flags: SocketFlag, command: Command) => {
      const cli = context(command);
      const ms = parseDuration(duration, '<duration>');
      const { now, world } = await withWorld(flags, named, async (client, id) => ({
        now: await client.advanceWorld(id, ms, { timeoutMs: null }),
        world: id,
      }));
      if (cli.json) cli.terminal.out(JSON.stringify({ world_id: world, monotonic_ms: now }));
      else cli.terminal.out(`${formatDuration(now)} since the start of ${escapeLine(world)}`);
    });

export const joinCommand: CommandBuilder = (context) =>
  new Command('join')
    .description('put a running agent into a world')
    .argument('<world>', WORLD_ARGUMENT)
    .argument('<agent>', 'id or name')
    .addOption(SOCKET_OPTION())
    .action(async (named: string, agent: string, flags: SocketFlag, command: Command) => {
      const cli = context(command);
      const joined = await withWorld(flags, named, async (client, id) => {
        const wanted = parseTarget(agent);
        const found = (await client.list()).find(({ id: one, name }) => one === wanted || name === wanted);
        if (found === undefined) throw new CloveError('NOT_FOUND', `agent not found: ${agent}`);
        return client.call('WORLD_JOIN', { world_id: id, agent_id: found.id });
      });
      if (cli.json) cli.terminal.out(JSON.stringify(joined));
      else cli.terminal.out(`${escapeLine(agent)} is in ${escapeLine(joined.world_id)}`);
    });

export const execCommand: CommandBuilder = (context) =>
  new Command('exec')
    .description('run a command in a world’s shell; its output and exit status are passed on')
    .argument('<world>', WORLD_ARGUMENT)
    .argument('<command...>', 'one word is a script, several are a command and its arguments')
    .option('--cwd <folder>', 'where to run it (default: /work, or the root)')
    .option('--timeout <duration>', 'in the world’s time', '5m')
    .addOption(SOCKET_OPTION())
    .addHelpText('after', "\nExample:\n  clove world exec soc-lab-0001 -- 'grep -c Failed /var/log/auth.log'")
    .action(
      async (
        named: string,
        words: string[],
        flags: SocketFlag & { cwd?: string; timeout: string },
        command: Command,
      ) => {
        const cli = context(command);
        const result = await withWorld(flags, named, async (client, id) => {
          await client.joinWorld(id);
          const [only = ''] = words;
          const request = {
            ...(words.length === 1 ? { command: only } : { argv: words }),
            ...(flags.cwd === undefined ? {} : { cwd: flags.cwd }),
            timeout: parseDuration(flags.timeout, '--timeout') / 1000,
            separate: true,
          };
          // Its limit is one of the world's time.
          return client.call('EXEC', request, { timeoutMs: null });
        });
        if (!('exit_code' in result)) return;
        if (cli.json) cli.terminal.out(JSON.stringify(result));
        else {
          // To a terminal nothing of it gets raw; to a pipe it is what it is.
          const text = (stream: string, isTerminal: boolean | undefined) =>
            isTerminal ? escapeText(stream) : stream;
          process.stdout.write(text(result.stdout, process.stdout.isTTY));
          process.stderr.write(text(result.stderr, process.stderr.isTTY));
        }
        if (result.timed_out) cli.terminal.note(`timeout after ${flags.timeout} of the world’s time`);
        cli.setExitCode(result.timed_out ? EXIT.failed : Math.max(0, result.exit_code));
      },
    );
