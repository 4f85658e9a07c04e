import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { EXAMPLES } from './examples.ts';
import { buildProgram } from './program.ts';

const program = buildProgram(() => {});

function commands(command: Command = program, name = 'clove'): (readonly [string, Command])[] {
  return [
    [name, command],
    ...command.commands.flatMap((child) => commands(child, `${name} ${child.name()}`)),
  ];
}

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  return text;
}

/** Command lines in the examples of a help text: several in one line, comments left out, what comes after `--` as one word. */
function exampleLines(help: string): string[] {
  const [, examples = ''] = help.split(/^Examples?:$/m);
  return examples
    .split('\n')
    .flatMap((line) => line.split(/&&|\|\||[|>]|\$\(| {2,}| #/))
    .map((part) =>
      part
        .replace(/ -- .*/, ' REST')
        .replace(/[()"]/g, '')
        .trim(),
    )
    .filter((part) => part.startsWith('clove '));
}

/** Of the words of a command line: the command they lead to, and those that are left. */
function lookUp(line: string): { readonly at: Command; readonly rest: readonly string[] } {
  let at = program;
  const rest: string[] = [];
  for (const word of line.split(' ').slice(1)) {
    const child = rest.some((other) => !other.startsWith('-'))
      ? undefined
      : at.commands.find((command) => command.name() === word);
    if (child === undefined) rest.push(word);
    else at = child;
  }
  return { at, rest };
}

describe('the help of every command', () => {
  it.each(commands())('%s: has examples, and examples that make sense', (name, command) => {
    const help = helpOf(command);
    const lines = exampleLines(help);
    expect(lines.length, help).toBeGreaterThan(0);
    expect(
      lines.some((line) => line.startsWith(name)),
      help,
    ).toBe(true);
    for (const line of lines) {
      const { at, rest } = lookUp(line);
      expect(at.commands.length === 0 || at === command, line).toBe(true);
      const known = [...at.options, ...program.options].flatMap(({ short, long }) => [short, long]);
      for (const word of rest.filter((each) => /^--?[a-z]/.test(each)))
        expect(known, line).toContain(word.split('=')[0]);
      // What is not said has its default: required arguments have none.
      const given = rest.filter((word) => !word.startsWith('-')).length;
      expect(given, line).toBeGreaterThanOrEqual(
        at.registeredArguments.filter(({ required }) => required).length,
      );
    }
  });

  it('names the options that hold for all commands', () => {
    for (const [name, command] of commands()) expect(helpOf(command), name).toMatch(/--json.*--progress/s);
  });

  it('knows every command that examples are written for', () => {
    const names = commands().map(([name]) => name);
    expect(Object.keys(EXAMPLES).filter((name) => !names.includes(name))).toEqual([]);
  });

  it('says nothing of lists that are empty by default', () => {
    for (const [name, command] of commands()) expect(helpOf(command), name).not.toContain('[])');
  });
});
