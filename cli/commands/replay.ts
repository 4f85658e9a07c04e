import { Command, Option } from 'commander';
import { CloveError } from '../../errors/index.ts';
import type { Divergence } from '../../kernel/recording/agent-replay.ts';
import type { RecordingDifference } from '../../kernel/recording/diff.ts';
import type { Difference } from '../../kernel/recording/json-diff.ts';
import type { ReplayReport } from '../../kernel/recording/replay-run.ts';
import { parseTarget } from '../connect.ts';
import type { CommandBuilder } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { escapeLine } from '../ui/escape.ts';
import { formatBytes } from '../ui/format.ts';
import { interruptible } from '../ui/interrupt.ts';
import { parseDuration } from '../ui/parse.ts';
import { renderTable } from '../ui/table.ts';

/** Of a value in a difference. */
const MAX_SHOWN = 200;

interface RunFlags {
  readonly agent: readonly string[];
  readonly env: readonly string[];
  readonly stall?: string;
  readonly output: boolean;
}

export const replayCommand: CommandBuilder = (context) => {
  const replay = new Command('replay').description(
    'run the agents of a recording again, check it, compare two',
  );
  replay.addCommand(runCommand(context));
  replay.addCommand(verifyCommand(context));
  replay.addCommand(diffCommand(context));
  return replay;
};

const runCommand: CommandBuilder = (context) =>
  new Command('run')
    .description(
      'run the recorded agents again; the kernel answers from the recording, and stops at the first divergence',
    )
    .argument('<file>', 'finished recording')
    .addOption(
      new Option('--agent <id-or-name>', 'only this agent (repeatable)').argParser(collect).default([]),
    )
    .addOption(
      new Option('--env <name=value>', 'in place of a recorded variable, such as a secret that was taken out')
        .argParser(collect)
        .default([]),
    )
    .option('--stall <duration>', 'how much later than recorded a call may come (default: 10s)')
    .option('--no-output', 'do not compare what agents print')
    .addHelpText(
      'after',
      `
Nothing is executed, written, sent or asked of the network: agents run in sandboxes of a private kernel.
Exit status: 0 as recorded · 1 diverged, refused, or not every agent could be replayed.`,
    )
    .action(async (file: string, flags: RunFlags, command: Command) => {
      const cli = context(command);
      const { replayRecording } = await import('../../kernel/recording/replay-run.ts');
      const report = await interruptible(cli.terminal, (signal) =>
        replayRecording({
          file,
          agents: flags.agent.map(parseTarget),
          env: Object.fromEntries(flags.env.map(parseVariable)),
          ...(flags.stall === undefined ? {} : { stallMs: parseDuration(flags.stall, '--stall') }),
          compareOutput: flags.output,
          signal,
        }),
      );
      cli.terminal.out(cli.json ? JSON.stringify(report) : describeReport(report));
      cli.setExitCode(report.verdict === 'identical' ? EXIT.ok : EXIT.failed);
    });

function describeReport(report: ReplayReport): string {
  const lines = [
    renderTable(
      [
        { title: 'agent', value: ({ name }) => escapeLine(name) },
        { title: 'start', align: 'right', value: ({ incarnation }) => String(incarnation) },
        { title: 'calls', align: 'right', value: ({ calls }) => String(calls) },
        { title: 'as recorded', align: 'right', value: ({ matched }) => String(matched) },
        { title: 'executed', align: 'right', value: ({ executed }) => String(executed) },
      ],
      report.runs,
    ),
    '',
  ];
  for (const { name, notes } of report.runs) {
    for (const note of notes) lines.push(`${escapeLine(name)}: ${escapeLine(note)}`);
  }
  for (const { name, reason } of report.skipped) {
    lines.push(`${escapeLine(name)}: not replayed: ${escapeLine(reason)}`);
  }
  if (report.divergence !== null) lines.push(...describeDivergence(report.divergence));
  lines.push(`recording ${report.recordingId}`);
  lines.push(`output    ${report.outputHash} (recorded: ${report.recordedHash})`);
  lines.push(report.verdict);
  return lines.join('\n');
}

function describeDivergence(divergence: Divergence): string[] {
  const { name, incarnation, message, matched, call, nearest, differences } = divergence;
  const lines = [
    `diverged: ${escapeLine(name)}${incarnation === 0 ? '' : ` (start ${incarnation})`}, after ${matched} calls as recorded`,
    `  ${escapeLine(message)}`,
  ];
  if (call !== null) lines.push(`  made     ${call.syscall} ${shown(call.request)}`);
  if (nearest !== null) {
    lines.push(`  recorded ${nearest.syscall} ${shown(nearest.request)} (entry ${nearest.seq})`);
  }
  return [...lines, ...describeDifferences(differences)];
}

function describeDifferences(differences: readonly Difference[]): string[] {
  return differences.flatMap((difference) => [
    `    ${escapeLine(difference.path === '' ? '(all)' : difference.path)}`,
    ...('recorded' in difference ? [`      - ${shown(JSON.stringify(difference.recorded))}`] : []),
    ...('actual' in difference ? [`      + ${shown(JSON.stringify(difference.actual))}`] : []),
  ]);
}

const verifyCommand: CommandBuilder = (context) =>
  new Command('verify')
    .description('check that a recording is whole and unchanged; names the first bad entry')
    .argument('<file>', 'finished recording')
    .option('--id <hash>', 'and that it is this one')
    .action(async (file: string, flags: { id?: string }, command: Command) => {
      const cli = context(command);
      const { verifyRecording } = await import('../../kernel/recording/reader.ts');
      const { id, header, footer, bytes } = await verifyRecording(file);
      if (flags.id !== undefined && flags.id !== id) {
        throw new CloveError('DATA_CORRUPT', `recording refused: it is ${id}, not ${flags.id}`);
      }
      const facts = {
        id,
        started_at: header.started_at,
        ended_at: footer.ended_at,
        entries: footer.entries + 1,
        calls: footer.calls,
        lost: footer.lost,
        bytes,
      };
      if (cli.json) {
        cli.terminal.out(JSON.stringify(facts));
        return;
      }
      const gaps = facts.lost === 0 ? 'no gap' : `${facts.lost} calls lost`;
      cli.terminal.out(
        `${id}\nwhole and unchanged: ${facts.calls} calls, ${gaps}, ${formatBytes(bytes)}, ` +
          `${facts.started_at} to ${facts.ended_at}`,
      );
    });

const diffCommand: CommandBuilder = (context) =>
  new Command('diff')
    .description('compare two recordings agent by agent; shows where each parts first')
    .argument('<first>', 'finished recording')
    .argument('<second>', 'finished recording')
    .action(async (first: string, second: string, _flags, command: Command) => {
      const cli = context(command);
      const { diffRecordings } = await import('../../kernel/recording/diff.ts');
      const diff = await diffRecordings(first, second);
      if (cli.json) cli.terminal.out(JSON.stringify(diff));
      else if (diff.identical) cli.terminal.out('the agents did and were told the same');
      else cli.terminal.out(diff.differences.map(describeDifference).join('\n'));
      cli.setExitCode(diff.identical ? EXIT.ok : EXIT.failed);
    });

function describeDifference({ name, incarnation, message, differences }: RecordingDifference): string {
  const who = `${escapeLine(name)}${incarnation === 0 ? '' : ` (start ${incarnation})`}`;
  return [`${who}: ${escapeLine(message)}`, ...describeDifferences(differences)].join('\n');
}

function shown(text: string | undefined): string {
  const line = escapeLine(text ?? '');
  return line.length <= MAX_SHOWN ? line : `${line.slice(0, MAX_SHOWN)}…`;
}

function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}

function parseVariable(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new CloveError('USAGE', `--env: '${text}' is not of the form name=value`);
  return [text.slice(0, at), text.slice(at + 1)];
}
