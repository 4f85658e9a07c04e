import { existsSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import { CloveError, isCloveError } from '../../../errors/index.ts';
import { nearestName } from '../../../errors/suggest.ts';
import { SOCKET_OPTION, withKernel } from '../../connect.ts';
import type { CliContext, CommandBuilder } from '../../context.ts';
import { escapeLine } from '../../ui/escape.ts';
import { plural } from '../../ui/format.ts';
import { parseCount } from '../../ui/parse.ts';
import { startDaemon } from '../kernel.ts';
import { WORLD_ARGUMENT, withWorld, worldIdsOf } from './target.ts';

export interface SocketFlag {
  readonly socket?: string;
}

interface CreateFlags extends SocketFlag {
  readonly from?: string;
  readonly seed?: string;
  readonly start: boolean;
}

export const createCommand: CommandBuilder = (context) =>
  new Command('create')
    .description('make a world in a running kernel; starts one where none runs')
    .argument('<world>', 'a world file, a world of the catalogue, or with --from a name for one')
    .addOption(SOCKET_OPTION())
    .option('--from <world>', 'world of the catalogue')
    .option('--seed <n>', 'in place of the definition’s')
    .option('--no-start', 'fail where no kernel runs')
    .addHelpText(
      'after',
      `
Examples:
  clove world create soc-lab
  clove world create my-lab --from soc-lab --seed 7
  clove world create ./shop.yaml`,
    )
    .action(async (given: string, flags: CreateFlags, command: Command) => {
      const cli = context(command);
      const request = {
        ...(await sourceOf(given, flags.from)),
        ...(flags.seed === undefined ? {} : { seed: parseCount(flags.seed, '--seed', 0) }),
      };
      const made = await onKernel(cli, flags, () =>
        withKernel(flags, (client) => client.createWorld(request)),
      );
      if (cli.json) {
        cli.terminal.out(JSON.stringify(made));
        return;
      }
      cli.terminal.out(
        `world ${escapeLine(made.world_id)}: seed ${made.world.seed}, clock ${made.world.clock_mode}, ${made.world.world_time}`,
      );
      for (const warning of made.warnings) cli.terminal.note(`note: ${escapeLine(warning)}`);
    });

/** What a person means by a word: a file that is there, a world of the catalogue, or a name for one. */
async function sourceOf(given: string, from: string | undefined) {
  if (from !== undefined) return { name: given, template: from };
  if (existsSync(given)) return { path: path.resolve(given) };
  const { CATALOG_NAMES } = await import('../../../worlds/catalog/index.ts');
  if (CATALOG_NAMES.includes(given)) return { name: given, template: given };
  const nearest = nearestName(given, CATALOG_NAMES);
  throw new CloveError('NOT_FOUND', `${given} is neither a file nor a world of the catalogue`, {
    hint: `${nearest === null ? '' : `Did you mean ${nearest}? `}The catalogue has ${CATALOG_NAMES.join(', ')}; \`clove world create NAME --from WORLD\` names one of them.`,
  });
}

/** A kernel is started where none runs at the usual place. */
async function onKernel<Result>(
  cli: CliContext,
  flags: CreateFlags,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!isCloveError(error) || error.code !== 'UNREACHABLE' || !flags.start) throw error;
    const started = await startDaemon({
      logLevel: 'info',
      sandbox: true,
      auditOnFailure: 'stop',
      onRestart: 'restart',
      ...(flags.socket === undefined ? {} : { socket: flags.socket }),
      ...(process.env.CLOVE_DATA_DIR === undefined ? {} : { dataDir: process.env.CLOVE_DATA_DIR }),
    });
    cli.terminal.note(
      `no kernel ran: one was started (pid ${started.pid}, socket ${escapeLine(started.socket)}); \`clove kernel stop\` ends it`,
    );
    return work();
  }
}

export const branchCommand: CommandBuilder = (context) =>
  new Command('branch')
    .description('worlds that begin as this one is now; what none of them changes they share')
    .argument('<world>', WORLD_ARGUMENT)
    .option('-n, --count <n>', 'how many', '1')
    .addOption(SOCKET_OPTION())
    .action(async (named: string, flags: SocketFlag & { count: string }, command: Command) => {
      const cli = context(command);
      const count = parseCount(flags.count, '--count');
      const ids = await withWorld(flags, named, (client, id) => client.branchWorld(id, count));
      cli.terminal.out(cli.json ? JSON.stringify(ids) : ids.map(escapeLine).join('\n'));
    });

export const destroyCommand: CommandBuilder = (context) =>
  new Command('destroy')
    .description('end worlds')
    .argument('<worlds...>', 'their ids or names')
    .option('-f, --force', 'also with members in them')
    .addOption(SOCKET_OPTION())
    .action(async (named: string[], flags: SocketFlag & { force?: boolean }, command: Command) => {
      const cli = context(command);
      const ids = await withKernel(flags, async (client) => {
        const found = await worldIdsOf(client, named);
        for (const id of found) await client.destroyWorld(id, { force: flags.force === true });
        return found;
      });
      cli.terminal.out(cli.json ? JSON.stringify(ids) : `${plural(ids.length, 'world')} ended`);
    });
