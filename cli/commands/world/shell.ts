import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline/promises';
import { Command } from 'commander';
import type { SyscallResponse } from '../../../sdk/typescript/index.ts';
import { SOCKET_OPTION } from '../../connect.ts';
import type { CommandBuilder } from '../../context.ts';
import { escapeLine, escapeText } from '../../ui/escape.ts';
import { parseDuration } from '../../ui/parse.ts';
import type { SocketFlag } from './create.ts';
import { WORLD_ARGUMENT, withWorld } from './target.ts';

export const shellCommand: CommandBuilder = (context) =>
  new Command('shell')
    .description('type commands into a world, one line each; the folder is kept between them')
    .argument('<world>', WORLD_ARGUMENT)
    .option('--timeout <duration>', 'of one command, in the world’s time', '5m')
    .addOption(SOCKET_OPTION())
    .action(async (named: string, flags: SocketFlag & { timeout: string }, command: Command) => {
      const cli = context(command);
      const timeout = parseDuration(flags.timeout, '--timeout') / 1000;
      await withWorld(flags, named, async (client, id) => {
        await client.joinWorld(id);
        const mark = randomBytes(8).toString('hex');
        const input = createInterface({
          input: process.stdin,
          output: process.stdout,
          terminal: process.stdin.isTTY,
        });
        let cwd: string | null = null;
        let last = 0;
        const prompt = () => {
          if (!process.stdin.isTTY) return;
          input.setPrompt(`${escapeLine(id)}:${escapeLine(cwd ?? '~')}$ `);
          input.prompt();
        };
        prompt();
        for await (const line of input) {
          if (line.trim() === 'exit') break;
          if (line.trim() !== '') {
            // Each line is a script of its own: the status of the one before is given along. Where it ended is told behind a mark that no output has.
            const script = `(exit ${last})\n${line}\n__status=$?; printf '%s%s' ${mark} "$PWD"; exit $__status`;
            const result: SyscallResponse<'EXEC'> = await client.call(
              'EXEC',
              { command: script, timeout, ...(cwd === null ? {} : { cwd }) },
              { timeoutMs: null },
            );
            if ('exit_code' in result) {
              const [output = '', where = '']: string[] = result.stdout.split(mark);
              process.stdout.write(escapeText(output));
              cwd = where || cwd;
              last = Math.max(0, result.exit_code);
              if (result.timed_out) cli.terminal.note(`timeout after ${flags.timeout}`);
            }
          }
          prompt();
        }
        input.close();
        cli.setExitCode(last);
      });
    });
