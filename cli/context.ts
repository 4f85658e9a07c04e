import type { Command } from 'commander';
import type { Terminal } from './ui/terminal.ts';

/** What every command is given besides its own options. */
export interface CliContext {
  readonly json: boolean;
  readonly verbose: boolean;
  readonly terminal: Terminal;
  setExitCode(code: number): void;
}

/** Builds one command; asks for the context when it runs, because global options are known only then. */
export type CommandBuilder = (context: (command: Command) => CliContext) => Command;
