import type { Command, Option } from 'commander';
import { Help } from 'commander';
import { EXAMPLES } from './examples.ts';

const GLOBALS =
  'Also: --json, --quiet, --verbose, --progress <mode>, --no-color (clove --help tells what they do)';

/** Gives a command and all below it what help and usage errors have everywhere: examples, the options that always hold, where to look. */
export function completeHelp(command: Command, name = command.name()): void {
  const examples = EXAMPLES[name];
  if (examples !== undefined)
    command.addHelpText('after', `\nExamples:\n${examples.map((line) => `  ${line}`).join('\n')}`);
  if (command.parent !== null) command.addHelpText('after', `\n${GLOBALS}`);
  command.showHelpAfterError(`(see ${name} --help)`);
  command.configureHelp({ ...command.configureHelp(), optionDescription });
  for (const child of command.commands) completeHelp(child, `${name} ${child.name()}`);
}

/** That an option which may be given several times is not given by default need not be said. */
function optionDescription(option: Option): string {
  const isList = Array.isArray(option.defaultValue) && option.defaultValue.length === 0;
  const text = Help.prototype.optionDescription.call(new Help(), option);
  return isList ? text.replace(/ \(default: \[\]\)/, '') : text;
}
