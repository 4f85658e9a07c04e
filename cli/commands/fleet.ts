import { existsSync } from 'node:fs';
import path from 'node:path';
import { Command, Option } from 'commander';
import { CloveError, isCloveError } from '../../errors/index.ts';
import type { Action, FleetDefinition, Problem, Progress } from '../../fleets/index.ts';
import type { CloveClient } from '../../sdk/typescript/index.ts';
import { SOCKET_OPTION, withKernel } from '../connect.ts';
import type { CliContext, CommandBuilder } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { escapeLine } from '../ui/escape.ts';
import { plural } from '../ui/format.ts';
import { interruptible } from '../ui/interrupt.ts';
import { parseDuration } from '../ui/parse.ts';
import { startDaemon } from './kernel.ts';

interface FleetFlags {
  readonly file?: string;
  readonly socket?: string;
}

interface UpFlags extends FleetFlags {
  readonly dryRun?: boolean;
  readonly watch?: boolean;
  readonly wait: boolean;
  readonly timeout: string;
  readonly start: boolean;
  readonly dataDir?: string;
}

const FILE_OPTION = () =>
  new Option('-f, --file <file>', 'the fleet file (default: clove.yaml)').env('CLOVE_FLEET');

export const upCommand: CommandBuilder = (context) =>
  new Command('up')
    .description('make the kernel run the fleet that clove.yaml declares: start, change and end what differs')
    .addOption(FILE_OPTION())
    .addOption(SOCKET_OPTION())
    .option('--dry-run', 'only tell what would be done')
    .option('--watch', 'stay, and do it again whenever the file or a script changes')
    .option('--no-wait', 'do not wait until all are ready')
    .option('--timeout <duration>', 'how long to wait for agents to become ready', '60s')
    .option('--no-start', 'do not start a kernel where none runs')
    .addOption(
      new Option('--data-dir <dir>', 'folder of durable data of a kernel that is started').env(
        'CLOVE_DATA_DIR',
      ),
    )
    .addHelpText(
      'after',
      `
Examples:
  clove up                          what ./clove.yaml declares
  clove up -f fleet.yaml --dry-run  what would be started, changed and ended
  clove up --watch                  again with every change of the file or a script

Exit status: 0 all as declared · 1 something failed, or the file does not make sense`,
    )
    .action(async (flags: UpFlags, command: Command) => {
      const cli = context(command);
      const definition = await load(cli, flags);
      const client = await connectOrStart(cli, flags, definition);
      try {
        if (flags.dryRun) await showPlan(cli, client, definition);
        else if (flags.watch) await stay(cli, client, flags, definition);
        else await bringUp(cli, client, flags, definition);
      } finally {
        client?.close();
      }
    });

export const downCommand: CommandBuilder = (context) =>
  new Command('down')
    .description('end the fleet that clove.yaml declares, from the last agent to the first')
    .addOption(FILE_OPTION())
    .addOption(SOCKET_OPTION())
    .option('--grace <duration>', 'between SIGTERM and SIGKILL (default: as each was started with, else 5s)')
    .addHelpText('after', '\nExamples:\n  clove down\n  clove down -f fleet.yaml --grace 1s')
    .action(async (flags: FleetFlags & { grace?: string }, command: Command) => {
      const cli = context(command);
      const definition = await load(cli, flags);
      const graceMs = flags.grace === undefined ? null : parseDuration(flags.grace, '--grace');
      const { takeDown } = await import('../../fleets/index.ts');
      const { done, failed } = await withKernel(flags, (client) =>
        takeDown(
          client,
          definition.name,
          definition.agents.map(({ name }) => name),
          definition.groups.map(({ name }) => name),
          progressOn(cli),
          graceMs,
        ),
      );
      if (cli.json) cli.terminal.out(JSON.stringify({ fleet: definition.name, ended: done, failed }));
      else cli.terminal.out(`fleet ${definition.name}: ${plural(done, 'agent')} ended`);
      if (failed.length > 0) cli.setExitCode(EXIT.failed);
    });

export const fleetStatusCommand: CommandBuilder = (context) =>
  new Command('status')
    .description('how the agents of the fleet are, next to how clove.yaml declares them')
    .addOption(FILE_OPTION())
    .addOption(SOCKET_OPTION())
    .addHelpText(
      'after',
      '\nExamples:\n  clove status\n  clove status --json\n\nExit status: 0 all as declared, ready and well · 1 not so',
    )
    .action(async (flags: FleetFlags, command: Command) => {
      const cli = context(command);
      const definition = await load(cli, flags);
      const { fleetStatus, statusTable } = await import('../fleet/status.ts');
      const status = await withKernel(flags, (client) => fleetStatus(client, definition));
      if (cli.json) cli.terminal.out(JSON.stringify(status));
      else cli.terminal.out(statusTable(cli.terminal, status));
      if (!status.ok) cli.setExitCode(EXIT.failed);
    });

/** Every problem of the file is told, each with its place, before the command fails. */
async function load(cli: CliContext, { file }: FleetFlags): Promise<FleetDefinition> {
  const { DEFAULT_FILES, loadFleet, problemText } = await import('../../fleets/index.ts');
  const chosen = file ?? DEFAULT_FILES.find((name) => existsSync(name)) ?? DEFAULT_FILES[0];
  try {
    return loadFleet(chosen, process.env);
  } catch (error) {
    const details = isCloveError(error)
      ? (error.details as { file: string; problems?: Problem[] } | undefined)
      : undefined;
    if (!isCloveError(error) || details?.problems === undefined) throw error;
    if (cli.json) cli.terminal.out(JSON.stringify({ file: details.file, problems: details.problems }));
    for (const problem of details.problems) cli.terminal.warn(escapeLine(problemText(details.file, problem)));
    throw new CloveError('CONFIG', `${details.file} has ${plural(details.problems.length, 'problem')}`, {
      cause: error,
      hint: 'What a fleet file may say: docs/fleets.md',
    });
  }
}

/** null: none runs, and for a dry run none is needed. */
async function connectOrStart(
  cli: CliContext,
  flags: UpFlags,
  { llm }: FleetDefinition,
): Promise<CloveClient | null> {
  const { connect } = await import('../../sdk/typescript/index.ts');
  const options = {
    ...(flags.socket === undefined ? {} : { socketPath: flags.socket }),
    reconnect: false as const,
  };
  try {
    const client = await connect(options);
    if (llm !== null) cli.terminal.note('the kernel runs already: `llm` of the file is not looked at');
    return client;
  } catch (error) {
    if (!isCloveError(error) || error.code !== 'UNREACHABLE') throw error;
    if (flags.dryRun) return null;
    if (!flags.start) throw error;
  }
  const started = await startDaemon({
    ...(flags.socket === undefined ? {} : { socket: flags.socket }),
    ...(flags.dataDir === undefined ? {} : { dataDir: flags.dataDir }),
    logLevel: 'info',
    sandbox: true,
    auditOnFailure: 'stop',
    onRestart: 'restart',
    ...(llm?.provider === undefined ? {} : { llm: llm.provider }),
    ...(llm?.url === undefined ? {} : { llmUrl: llm.url }),
    ...(llm?.model === undefined ? {} : { llmModel: llm.model }),
    ...(llm?.key_env === undefined ? {} : { llmKeyEnv: llm.key_env }),
    ...(llm?.concurrency === undefined ? {} : { llmConcurrency: llm.concurrency }),
  });
  cli.terminal.note(`started a kernel: socket ${escapeLine(started.socket)}, pid ${started.pid}`);
  return connect({ ...options, socketPath: started.socket });
}

async function showPlan(
  cli: CliContext,
  client: CloveClient | null,
  definition: FleetDefinition,
): Promise<void> {
  const { actualOf, nameOf, planFleet } = await import('../../fleets/index.ts');
  const plan = planFleet(definition, client === null ? { agents: [], groups: [] } : await actualOf(client));
  if (cli.json) {
    const actions = plan.actions.map((action) => ({ action: action.kind, name: nameOf(action) }));
    cli.terminal.out(
      JSON.stringify({
        fleet: definition.name,
        actions,
        unchanged: plan.unchanged,
        conflicts: plan.conflicts,
      }),
    );
  } else {
    for (const action of plan.actions)
      cli.terminal.out(`${VERBS[action.kind].would} ${escapeLine(nameOf(action))}`);
    for (const { name, reason } of plan.conflicts) cli.terminal.warn(escapeLine(`${name}: ${reason}`));
    cli.terminal.out(`${plural(plan.actions.length, 'change')}, ${plan.unchanged.length} as declared`);
  }
  if (plan.conflicts.length > 0) cli.setExitCode(EXIT.failed);
}

async function bringUp(
  cli: CliContext,
  client: CloveClient | null,
  flags: UpFlags,
  definition: FleetDefinition,
): Promise<void> {
  const ok = await interruptible(cli.terminal, (signal) =>
    once(cli, client as CloveClient, flags, definition, signal),
  );
  if (!ok) cli.setExitCode(EXIT.failed);
}

async function once(
  cli: CliContext,
  client: CloveClient,
  flags: UpFlags,
  definition: FleetDefinition,
  signal: AbortSignal,
): Promise<boolean> {
  const { actualOf, converge, planFleet } = await import('../../fleets/index.ts');
  const { conflicts } = planFleet(definition, await actualOf(client));
  for (const { name, reason } of conflicts) cli.terminal.warn(escapeLine(`${name}: ${reason}`));
  if (conflicts.length > 0) {
    throw new CloveError(
      'CONFLICT',
      `${plural(conflicts.length, 'name')} of the fleet ${conflicts.length === 1 ? 'is' : 'are'} taken`,
      {
        hint: 'End those agents, or give other names.',
      },
    );
  }
  const readyMs = parseDuration(flags.timeout, '--timeout');
  const options = { signal, readyMs, waitForReady: flags.wait };
  const { done, failed } = await converge(client, definition, options, progressOn(cli));
  if (cli.json) {
    cli.terminal.out(
      JSON.stringify({ fleet: definition.name, ok: failed.length === 0, changes: done, failed }),
    );
  } else {
    for (const { name, error } of failed) cli.terminal.warn(escapeLine(`${name}: ${error}`));
    cli.terminal.out(
      `fleet ${definition.name}: ${plural(definition.agents.length, 'agent')}, ${plural(done, 'change')}${failed.length === 0 ? (flags.wait ? ', all as declared' : '') : `, ${failed.length} failed`}`,
    );
  }
  return failed.length === 0;
}

/** Until Ctrl-C; the agents run on. A file that does not make sense changes nothing. */
async function stay(
  cli: CliContext,
  client: CloveClient | null,
  flags: UpFlags,
  first: FleetDefinition,
): Promise<void> {
  const { watchFiles } = await import('../../fleets/index.ts');
  await interruptible(cli.terminal, async (signal) => {
    let definition = first;
    let isDue = true;
    let wake = Promise.withResolvers<void>();
    const watch = watchFiles(definition.watched, (files) => {
      cli.terminal.note(`changed: ${files.map((file) => escapeLine(path.relative('.', file))).join(', ')}`);
      isDue = true;
      wake.resolve();
    });
    signal.addEventListener('abort', () => wake.resolve(), { once: true });
    try {
      while (!signal.aborted) {
        if (isDue) {
          isDue = false;
          definition = await load(cli, flags).catch((error: unknown) => {
            cli.terminal.warn(
              escapeLine(`${error instanceof Error ? error.message : error}; nothing was changed`),
            );
            return definition;
          });
          watch.set(definition.watched);
          await once(cli, client as CloveClient, flags, definition, signal).catch((error: unknown) => {
            if (isCloveError(error) && (error.code === 'DISCONNECTED' || error.code === 'UNREACHABLE'))
              throw error;
            cli.terminal.warn(escapeLine(error instanceof Error ? error.message : String(error)));
          });
        }
        if (!isDue && !signal.aborted) await wake.promise;
        wake = Promise.withResolvers<void>();
      }
    } finally {
      watch.close();
    }
  });
}

const VERBS: Readonly<Record<Action['kind'], { readonly did: string; readonly would: string }>> = {
  set_group: { did: 'set group', would: 'set group' },
  create: { did: 'started', would: 'start' },
  reload: { did: 'reloaded', would: 'reload' },
  replace: { did: 'replaced', would: 'replace' },
  remove: { did: 'ended', would: 'end' },
  remove_group: { did: 'removed group', would: 'remove group' },
};

function progressOn({ terminal }: CliContext): Progress {
  const name = (action: Action) =>
    escapeLine('agent' in action ? action.agent.name : 'group' in action ? action.group.name : action.name);
  return {
    done: (action, note) =>
      terminal.note(
        `${VERBS[action.kind].did} ${name(action)}${note === '' ? '' : ` (${escapeLine(note)})`}`,
      ),
    failed: (action, error) =>
      terminal.warn(
        `cannot ${VERBS[action.kind].would} ${name(action)}: ${escapeLine(error instanceof Error ? error.message : String(error))}`,
      ),
  };
}
