import path from 'node:path';
import { Command } from 'commander';
import { CloveError } from '../../errors/index.ts';
import type { CloveClient, SyscallResponse } from '../../sdk/typescript/index.ts';
import { changesBeside } from '../changes.ts';
import { parseTarget, SOCKET_OPTION, withKernel } from '../connect.ts';
import type { CliContext, CommandBuilder } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { escapeLine, escapeText } from '../ui/escape.ts';
import { interruptible } from '../ui/interrupt.ts';
import { parseDuration } from '../ui/parse.ts';

interface ReloadFlags {
  readonly socket?: string;
  readonly drain?: string;
  readonly ready?: string;
  readonly watch?: boolean;
}

export const reloadCommand: CommandBuilder = (context) =>
  new Command('reload')
    .description(
      'give an agent new code under the same id, name, mailbox and state; the old runs again if it fails',
    )
    .argument('<agent>', 'id or name')
    .argument('[script]', 'other code (default: what lies at its path now)')
    .addOption(SOCKET_OPTION())
    .option('--drain <duration>', 'how long the old code may take to end (default: 5s)')
    .option('--ready <duration>', 'how long the new code has to live to be up (default: 1s)')
    .option('--watch', 'do so whenever the script, or another of its kind beside it, changes')
    .addHelpText(
      'after',
      '\nExamples:\n  clove agent reload worker\n  clove agent reload worker ./worker.py --watch',
    )
    .action(async (target: string, script: string | undefined, flags: ReloadFlags, command: Command) => {
      const cli = context(command);
      const request = {
        ...(script === undefined ? {} : { script: path.resolve(script) }),
        ...(flags.drain === undefined ? {} : { drain_ms: parseDuration(flags.drain, '--drain') }),
        ...(flags.ready === undefined ? {} : { ready_ms: parseDuration(flags.ready, '--ready') }),
      };
      const reload = async (client: CloveClient) =>
        report(cli, await client.reload(parseTarget(target), request, { timeoutMs: null }));
      if (flags.watch !== true) {
        const isUp = await withKernel(flags, reload);
        if (!isUp) cli.setExitCode(EXIT.failed);
        return;
      }
      if (script === undefined) {
        throw new CloveError('USAGE', 'which script is to be watched?', {
          hint: 'clove agent reload <agent> <script> --watch',
        });
      }
      await interruptible(cli.terminal, (signal) =>
        withKernel(flags, (client) => reloadAtChanges(path.resolve(script), signal, () => reload(client))),
      );
    });

/** Once now, and again after each change; also after one that is made meanwhile. */
async function reloadAtChanges(
  script: string,
  signal: AbortSignal,
  reload: () => Promise<unknown>,
): Promise<void> {
  const over = new AbortController();
  const changes = changesBeside(script, AbortSignal.any([signal, over.signal]));
  const first = changes.next();
  try {
    await reload();
    for (let change = await first; change.done !== true; change = await changes.next()) await reload();
  } finally {
    over.abort();
  }
}

/** Whether the new code is up. */
function report(cli: CliContext, answer: SyscallResponse<'RELOAD'>): boolean {
  if (cli.json) {
    cli.terminal.out(JSON.stringify(answer));
    return answer.reloaded;
  }
  const who = `agent ${answer.agent_id} (${escapeLine(answer.name)})`;
  if (answer.reloaded) {
    cli.terminal.out(`${who} runs its new code, pid ${answer.pid}`);
    return true;
  }
  cli.terminal.warn(
    `${who} runs its old code again: ${escapeLine(answer.reason ?? 'the new did not come up')}`,
  );
  if (answer.log_tail !== '') process.stderr.write(escapeText(answer.log_tail));
  return false;
}
