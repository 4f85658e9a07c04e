import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, Option } from 'commander';
import type { CloveClient, SyscallResponse } from '../../sdk/typescript/index.ts';
import { onAgent } from '../agent-target.ts';
import { SOCKET_OPTION, withKernel } from '../connect.ts';
import type { CliContext, CommandBuilder } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { escapeLine, escapeText } from '../ui/escape.ts';
import { formatBytes, formatDuration } from '../ui/format.ts';
import { layerTable } from '../ui/layers.ts';
import { parseBytes, parseCount, parseDuration, parsePositive } from '../ui/parse.ts';
import { renderTable } from '../ui/table.ts';
import { reloadCommand } from './agent-reload.ts';
import { exitStatusOf } from './run.ts';
import { worldIdOf } from './world/target.ts';

interface SocketFlag {
  readonly socket?: string;
}

interface RunFlags extends SocketFlag {
  readonly name?: string;
  readonly memory?: string;
  readonly cpu?: string;
  readonly pids?: string;
  readonly timeout?: string;
  readonly interpreter?: string;
  readonly restart: 'never' | 'always' | 'on-failure';
  readonly world?: string;
  readonly persist?: boolean;
  readonly wait?: boolean;
}

type Listed = SyscallResponse<'LIST'>[number];

export const agentCommand: CommandBuilder = (context) => {
  const agent = new Command('agent').description('start and steer agents of a running kernel');
  agent.addCommand(runCommand(context));
  agent.addCommand(listCommand('list', 'list agents')(context));
  agent.addCommand(killCommand(context));
  agent.addCommand(freezeCommand('pause', 'freeze an agent with everything it started')(context));
  agent.addCommand(freezeCommand('resume', 'let a paused agent run on')(context));
  agent.addCommand(logsCommand(context));
  agent.addCommand(reloadCommand(context));
  return agent;
};

export const psCommand: CommandBuilder = (context) =>
  listCommand(
    'ps',
    'list agents: state, resources, isolation',
  )(context).option('--isolation', 'show every layer that is not on');

const runCommand: CommandBuilder = (context) =>
  new Command('run')
    .description('start an agent from a script')
    .argument('<script>', 'TypeScript, JavaScript, Python or shell script')
    .argument('[args...]', 'arguments of the script')
    .addOption(SOCKET_OPTION())
    .option('--name <name>', 'name of the agent (default: agent_<id>)')
    .option('--memory <size>', 'memory of everything it starts (default: 256M)')
    .option('--cpu <cores>', 'CPU time, in cores (default: 1)')
    .option('--pids <n>', 'processes and threads at once (default: 64)')
    .option('--timeout <duration>', 'kill it after this time')
    .option('--interpreter <program>', 'what runs the script (default: by its extension)')
    .addOption(
      new Option('--restart <policy>', 'what to do when it ends')
        .choices(['never', 'always', 'on-failure'])
        .default('never'),
    )
    .option('--world <world>', 'start it in this world (id, or name where it is the only one), to stay')
    .option('--persist', 'start it again after a restart of the kernel, as with --restart')
    .option('--wait', 'wait for its end, print its output and take over its exit status')
    .action(async (script: string, args: string[], flags: RunFlags, command: Command) => {
      const cli = context(command);
      await withKernel(flags, async (client) => {
        const spawned = await client.spawn({
          script: path.resolve(script),
          args,
          ...(flags.name === undefined ? {} : { name: flags.name }),
          ...(flags.interpreter === undefined ? {} : { python: flags.interpreter }),
          ...(flags.timeout === undefined ? {} : { timeout_ms: parseDuration(flags.timeout, '--timeout') }),
          restart_policy: flags.restart,
          ...(flags.world === undefined ? {} : { world: await worldIdOf(client, flags.world) }),
          ...(flags.persist === true ? { persist: true } : {}),
          limits: {
            ...(flags.memory === undefined ? {} : { memory: parseBytes(flags.memory, '--memory') }),
            ...(flags.cpu === undefined ? {} : { cpu: parsePositive(flags.cpu, '--cpu') }),
            ...(flags.pids === undefined ? {} : { max_pids: parseCount(flags.pids, '--pids') }),
          },
        });
        if (cli.verbose) cli.terminal.note(layerTable(cli.terminal, spawned.isolation.layers));
        if (!flags.wait) {
          if (cli.json) cli.terminal.out(JSON.stringify(spawned));
          else cli.terminal.out(`agent ${spawned.id} (${escapeLine(spawned.name)}) runs, pid ${spawned.pid}`);
          return;
        }
        const end = await client.wait(spawned.id);
        const logs = await client.logs(spawned.id);
        if (cli.json) cli.terminal.out(JSON.stringify({ ...end, stdout: logs.stdout, stderr: logs.stderr }));
        else writeLogs(cli, logs);
        tellEnd(cli, end);
        cli.setExitCode(exitStatusOfAgent(end));
      });
    });

type Ended = Pick<SyscallResponse<'WAIT'>, 'name' | 'reason' | 'exit_code' | 'signal'>;

/** As `clove run` would leave for a command that ended so. */
function exitStatusOfAgent({ reason, exit_code: exitCode, signal }: Ended): number {
  if (reason === 'unhealthy' || reason === 'unready') return EXIT.failed;
  return exitStatusOf({ reason, exitCode, signal });
}

function tellEnd({ terminal }: CliContext, end: Ended): void {
  if (end.reason !== 'exited')
    terminal.warn(`${escapeLine(end.name)} did not exit by itself: ${endText(end)}`);
}

function endText({ reason, exit_code, signal }: Omit<Ended, 'name' | 'reason'> & { reason: string }): string {
  if (reason === 'exited') return `exit ${exit_code ?? '?'}`;
  if (reason === 'signal') return signal ?? 'signal';
  return reason === 'oom' ? 'out of memory' : reason;
}

function listCommand(name: string, description: string): CommandBuilder {
  return (context) =>
    new Command(name)
      .description(description)
      .addOption(SOCKET_OPTION())
      .option('-a, --all', 'also agents that have ended')
      .action(async (flags: SocketFlag & { all?: boolean; isolation?: boolean }, command: Command) => {
        const cli = context(command);
        const agents = await withKernel(flags, (client) => client.list({ all: flags.all === true }));
        if (cli.json) {
          cli.terminal.out(JSON.stringify(agents));
          return;
        }
        if (agents.length === 0) {
          cli.terminal.out('no agents');
          return;
        }
        cli.terminal.out(
          renderTable<Listed>(
            [
              { title: 'id', align: 'right', value: ({ id }) => String(id) },
              { title: 'name', value: (agent) => escapeLine(agent.name) },
              {
                title: 'state',
                value: ({ state, pid, ended }) =>
                  pid === 0 && ended !== null ? `${state} (${escapeLine(endText(ended))})` : state,
              },
              { title: 'pid', align: 'right', value: ({ pid }) => (pid === 0 ? '–' : String(pid)) },
              { title: 'up', align: 'right', value: whileAlive(({ uptime_ms: ms }) => formatDuration(ms)) },
              { title: 'memory', align: 'right', value: whileAlive(({ memory }) => formatBytes(memory)) },
              { title: 'cpu', align: 'right', value: whileAlive(({ cpu }) => `${cpu.toFixed(1)} %`) },
              { title: 'restarts', align: 'right', value: ({ restarts }) => String(restarts) },
              { title: 'isolation', value: (agent) => describeIsolation(agent, flags.isolation === true) },
            ],
            agents,
          ),
        );
      });
}

/** What an agent without a process has is nothing, not zero. */
function whileAlive(value: (agent: Listed) => string): (agent: Listed) => string {
  return (agent) => (agent.pid === 0 ? '–' : value(agent));
}

function describeIsolation({ isolation }: Listed, detailed: boolean): string {
  if (isolation === null) return '–';
  const missing = [...isolation.off, ...isolation.degraded.map((layer) => `${layer} (degraded)`)];
  if (detailed && missing.length > 0) return `${isolation.on} on; not on: ${missing.join(', ')}`;
  return `${isolation.on} layers on${isolation.fully_isolated ? '' : ', NOT fully isolated'}`;
}

const killCommand: CommandBuilder = (context) =>
  new Command('kill')
    .description('end agents for good: SIGTERM, then SIGKILL to everything they started')
    .argument('<agents...>', 'ids or names')
    .addOption(SOCKET_OPTION())
    .option('--grace <duration>', 'time between the two signals (default: 5s)')
    .action(async (targets: string[], flags: SocketFlag & { grace?: string }, command: Command) => {
      const cli = context(command);
      const graceMs = flags.grace === undefined ? undefined : parseDuration(flags.grace, '--grace');
      await withKernel(flags, async (client) => {
        for (const target of targets) {
          await onAgent(client, target, (known) =>
            client.kill(known, graceMs === undefined ? { timeoutMs: null } : { graceMs, timeoutMs: null }),
          );
          report(cli, target, 'killed');
        }
      });
    });

function freezeCommand(verb: 'pause' | 'resume', description: string): CommandBuilder {
  return (context) =>
    new Command(verb)
      .description(description)
      .argument('<agents...>', 'ids or names')
      .addOption(SOCKET_OPTION())
      .action(async (targets: string[], flags: SocketFlag, command: Command) => {
        const cli = context(command);
        await withKernel(flags, async (client) => {
          for (const target of targets) {
            await onAgent(client, target, (known) => client[verb](known));
            report(cli, target, `${verb}d`);
          }
        });
      });
}

interface LogsFlags extends SocketFlag {
  readonly bytes?: string;
  readonly follow?: true;
}

/** For so long one call waits for new output of an agent that is followed. */
const FOLLOW_WAIT_MS = 600_000;
/** What it writes in small pieces is fetched together. */
const FOLLOW_PAUSE_MS = 100;

const logsCommand: CommandBuilder = (context) =>
  new Command('logs')
    .description('print the last output of an agent, live or ended')
    .argument('<agent>', 'id or name')
    .addOption(SOCKET_OPTION())
    .option('--bytes <size>', 'at most this much of each stream')
    .option('-f, --follow', 'go on printing what it writes, until it has ended for good')
    .action(async (target: string, flags: LogsFlags, command: Command) => {
      const cli = context(command);
      if (flags.follow) return await withKernel(flags, (client) => followLogs(cli, client, target, flags));
      const logs = await withKernel(flags, (client) =>
        onAgent(client, target, (known) =>
          client.logs(
            known,
            flags.bytes === undefined ? {} : { maxBytes: parseBytes(flags.bytes, '--bytes') },
          ),
        ),
      );
      if (cli.json) cli.terminal.out(JSON.stringify(logs));
      else writeLogs(cli, logs);
    });

/** What there is, and what comes, until the agent has ended and no restart follows. With --json one object for each piece. */
async function followLogs(
  cli: CliContext,
  client: CloveClient,
  target: string,
  flags: LogsFlags,
): Promise<void> {
  const bytes = flags.bytes === undefined ? Number.POSITIVE_INFINITY : parseBytes(flags.bytes, '--bytes');
  // Another agent may take its name.
  const { agent_id: id, ...at } = await onAgent(client, target, (known) =>
    client.logs(known, { maxBytes: 0 }),
  );
  let from = {
    stdout: Math.max(0, at.stdout_bytes - bytes),
    stderr: Math.max(0, at.stderr_bytes - bytes),
  };
  for (;;) {
    const logs = await client.logs(id, { from, waitMs: FOLLOW_WAIT_MS });
    const lost = lostBehind(from.stdout, logs.stdout_dropped) + lostBehind(from.stderr, logs.stderr_dropped);
    if (lost > 0) cli.terminal.warn(`${formatBytes(lost)} of output were not kept`);
    if (logs.stdout !== '' || logs.stderr !== '') {
      if (cli.json) cli.terminal.out(JSON.stringify({ stdout: logs.stdout, stderr: logs.stderr }));
      process.stdout.write(cli.json ? '' : escapeText(logs.stdout));
      process.stderr.write(cli.json ? '' : escapeText(logs.stderr));
    }
    from = { stdout: logs.stdout_to ?? logs.stdout_bytes, stderr: logs.stderr_to ?? logs.stderr_bytes };
    // Part of a character does not count: its other part may take its time.
    const isThrough = logs.stdout_bytes - from.stdout < 4 && logs.stderr_bytes - from.stderr < 4;
    if (logs.ended && from.stdout >= logs.stdout_bytes && from.stderr >= logs.stderr_bytes) return;
    if (isThrough && !logs.ended) await sleep(FOLLOW_PAUSE_MS);
  }
}

/** Of what is behind `from` so much is no longer kept. */
function lostBehind(from: number, dropped: number): number {
  return Math.max(0, dropped - from);
}

/** Agents' own text: escaped, whatever reads it. */
function writeLogs(cli: CliContext, logs: SyscallResponse<'LOGS'>): void {
  if (logs.stdout !== '') process.stdout.write(escapeText(logs.stdout));
  if (logs.stderr !== '') process.stderr.write(escapeText(logs.stderr));
  if (logs.stdout !== '' && !logs.stdout.endsWith('\n')) process.stdout.write('\n');
  const dropped = logs.stdout_dropped + logs.stderr_dropped;
  if (dropped > 0) cli.terminal.warn(`${formatBytes(dropped)} of earlier output were not kept`);
}

function report(cli: CliContext, target: string, what: string): void {
  if (cli.json) cli.terminal.out(JSON.stringify({ agent: target, [what]: true }));
  else cli.terminal.out(`${escapeLine(target)} ${what}`);
}
