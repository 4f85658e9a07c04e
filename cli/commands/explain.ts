import { Command } from 'commander';
import { CloveError, ERROR_CODES, isErrorCode } from '../../errors/index.ts';
import { REMEDIES } from '../../errors/remedies.ts';
import { namesHint } from '../../errors/suggest.ts';
import type { CommandBuilder } from '../context.ts';
import { exitCodeOf } from '../present-error.ts';
import { renderTable } from '../ui/table.ts';

export const explainCommand: CommandBuilder = (context) =>
  new Command('explain')
    .description('what an error code means, what usually causes it, and what to do')
    .argument('[code]', 'such as SANDBOX_UNAVAILABLE (default: a table of all)')
    .action((code: string | undefined, _flags, command: Command) => {
      const { json, terminal } = context(command);
      if (code === undefined) {
        const all = Object.keys(ERROR_CODES).map(explanationOf);
        if (json) terminal.out(JSON.stringify({ codes: all }));
        else
          terminal.out(
            renderTable<Explanation>(
              [
                { title: 'code', value: (row) => row.code },
                { title: 'meaning', value: (row) => row.meaning },
              ],
              all,
            ),
          );
        return;
      }
      const explanation = explanationOf(code.toUpperCase());
      if (json) terminal.out(JSON.stringify(explanation));
      else {
        const { meaning, cause, remedy, exitStatus } = explanation;
        terminal.out(terminal.style('bold', explanation.code));
        terminal.out(`  meaning:     ${meaning}`);
        terminal.out(`  usual cause: ${cause}`);
        terminal.out(`  what to do:  ${remedy}`);
        terminal.out(`  exit status: ${exitStatus}`);
      }
    });

interface Explanation {
  readonly code: string;
  readonly meaning: string;
  readonly cause: string;
  readonly remedy: string;
  /** Of a command that ends with this error. */
  readonly exitStatus: number;
}

function explanationOf(code: string): Explanation {
  if (!isErrorCode(code))
    throw new CloveError('USAGE', `there is no error code ${code}`, {
      hint: namesHint(code, Object.keys(ERROR_CODES)),
    });
  return { code, meaning: ERROR_CODES[code], ...REMEDIES[code], exitStatus: exitCodeOf(code) };
}
