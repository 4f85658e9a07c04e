import { Command, CommanderError, Option } from 'commander';
import { packageVersion } from '../native/package.ts';
import { agentCommand, psCommand } from './commands/agent.ts';
import { auditCommand } from './commands/audit.ts';
import { benchCommand } from './commands/bench.ts';
import { dataCommand } from './commands/data.ts';
import { demoCommand } from './commands/demo.ts';
import { doctorCommand } from './commands/doctor.ts';
import { explainCommand } from './commands/explain.ts';
import { downCommand, fleetStatusCommand, upCommand } from './commands/fleet.ts';
import { kernelCommand } from './commands/kernel.ts';
import { recordCommand } from './commands/record.ts';
import { replayCommand } from './commands/replay.ts';
import { runCommand } from './commands/run.ts';
import { scenarioCommand } from './commands/scenario.ts';
import { versionCommand } from './commands/version.ts';
import { worldCommand } from './commands/world.ts';
import type { CliContext } from './context.ts';
import { EXIT } from './exit-codes.ts';
import { completeHelp } from './help.ts';
import { presentError } from './present-error.ts';
import { type ProgressMode, Terminal, wantsColour } from './ui/terminal.ts';

interface GlobalOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  readonly color?: boolean;
  readonly progress: ProgressMode | 'auto';
}

/** Runs one command line; resolves to the exit status. Never rejects. */
export async function runCli(args: readonly string[]): Promise<number> {
  let exitCode: number = EXIT.ok;
  const verboseAsked = args.includes('--verbose') || args.includes('-v');
  const program = buildProgram((code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync([...args], { from: 'user' });
    return exitCode;
  } catch (error) {
    const presented = presentError(error, verboseAsked);
    if (presented.text) process.stderr.write(`${presented.text}\n`);
    return presented.exitCode;
  }
}

export function buildProgram(setExitCode: (code: number) => void): Command {
  const program = new Command('clove')
    .description('A runtime for fleets of AI agents, and the harness that measures them.')
    .usage('[options] <command>')
    .addOption(new Option('--json', 'print the answer as JSON on stdout'))
    .addOption(new Option('-q, --quiet', 'no progress, only the answer and errors'))
    .addOption(new Option('-v, --verbose', 'show causes, details and stacks'))
    .addOption(new Option('--no-color', 'plain text (also NO_COLOR)'))
    .addOption(
      new Option('--progress <mode>', 'how progress is shown')
        .choices(['auto', 'tty', 'plain', 'quiet', 'json'])
        .default('auto')
        .env('CLOVE_PROGRESS'),
    )
    .version(packageVersion(), '-V, --version')
    .showSuggestionAfterError(true)
    .configureHelp({ showGlobalOptions: false })
    .addHelpText('beforeAll', '')
    .addHelpText(
      'after',
      `
Examples:
  clove bench run drug-discovery --quick          the 8-experiment grid, in sandboxes, with a report
  clove bench run drug-discovery --compare process,thread,sequential
  clove run --memory 256M --timeout 10s -- python3 -c 'print(6 * 7)'
  clove kernel start && clove agent run worker.py && clove ps
  clove doctor                                    what this machine can isolate, and what to do about the rest

Exit status: 0 ok · 1 failed · 2 wrong usage · 3 verdict: fail · 4 no verdict · 125 no sandbox · 130 interrupted`,
    );

  const context = (command: Command): CliContext => {
    const options = command.optsWithGlobals<GlobalOptions>();
    return {
      json: options.json === true,
      verbose: options.verbose === true,
      terminal: new Terminal({
        progress: options.quiet ? 'quiet' : options.progress,
        verbose: options.verbose === true,
        colour: wantsColour(options.color, process.stderr),
      }),
      setExitCode,
    };
  };

  for (const build of [
    benchCommand,
    scenarioCommand,
    demoCommand,
    kernelCommand,
    agentCommand,
    psCommand,
    runCommand,
    worldCommand,
    auditCommand,
    recordCommand,
    replayCommand,
    dataCommand,
    upCommand,
    downCommand,
    fleetStatusCommand,
    doctorCommand,
    explainCommand,
    versionCommand,
  ]) {
    program.addCommand(build(context));
  }
  completeHelp(program);
  exitByThrowing(program);
  return program;
}

/** Usage errors leave with 2, whichever subcommand they arise in. */
function exitByThrowing(command: Command): void {
  command.exitOverride((error) => {
    throw new CommanderError(error.exitCode === 0 ? 0 : EXIT.usage, error.code, error.message);
  });
  for (const child of command.commands) exitByThrowing(child);
}
