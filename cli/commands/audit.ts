import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, Option } from 'commander';
import { CloveError } from '../../errors/index.ts';
import { AUDIT_CATEGORIES, type AuditCategory } from '../../kernel/syscalls/define.ts';
import type { AuditFilter, AuditSource } from '../audit-source.ts';
import { verifyExportFile, withAuditSource } from '../audit-source.ts';
import { entryLine, toCsvHeader, toCsvLine, toJsonLine } from '../audit-text.ts';
import { parseTarget, SOCKET_OPTION } from '../connect.ts';
import type { CliContext, CommandBuilder } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { escapeLine } from '../ui/escape.ts';
import { interruptible } from '../ui/interrupt.ts';
import { parseCount } from '../ui/parse.ts';

const FOLLOW_INTERVAL_MS = 500;
/** Records asked for at once. */
const PAGE = 1000;

interface SourceFlags {
  readonly socket?: string;
  readonly dataDir?: string;
}

interface FilterFlags extends SourceFlags {
  readonly category?: string[];
  readonly agent?: string;
  readonly event?: string[];
  readonly syscall?: string;
  readonly denied?: boolean;
  readonly allowed?: boolean;
  readonly outcome?: string;
  readonly since?: string;
  readonly until?: string;
  readonly after?: string;
}

export const auditCommand: CommandBuilder = (context) => {
  const audit = new Command('audit').description('read, check and export the audit log');
  audit.addCommand(tailCommand(context));
  audit.addCommand(queryCommand(context));
  audit.addCommand(verifyCommand(context));
  audit.addCommand(exportCommand(context));
  return audit;
};

function withSource(command: Command): Command {
  return command
    .addOption(SOCKET_OPTION())
    .option('--data-dir <dir>', 'read the log of this data directory itself, with or without its kernel');
}

function withFilters(command: Command): Command {
  return withSource(command)
    .option(
      '--category <names...>',
      'SECURITY, AGENT_LIFECYCLE, RESOURCE, SYSCALL, IPC, STATE_STORE, NETWORK, WORLD',
    )
    .option('--agent <id>', 'about this agent or client')
    .option('--event <types...>', 'events of these types, such as AGENT_EXITED or PERMISSION_DENIED')
    .option('--syscall <name>', 'calls of this syscall')
    .addOption(new Option('--denied', 'only what was refused').conflicts('allowed'))
    .option('--allowed', 'only calls that were allowed')
    .option('--outcome <code>', 'OK or an error code')
    .option('--since <time>', 'from this moment on (ISO 8601)')
    .option('--until <time>', 'before this moment (ISO 8601)')
    .option('--after <seq>', 'only records behind this one');
}

const tailCommand: CommandBuilder = (context) =>
  withFilters(new Command('tail').description('show the newest records'))
    .option('-n, --lines <n>', 'how many', '20')
    .option('-f, --follow', 'go on as records are written')
    .action(async (flags: FilterFlags & { lines: string; follow?: boolean }, command: Command) => {
      const cli = context(command);
      const filter = filterOf(flags);
      const limit = parseCount(flags.lines, '--lines');
      await withAuditSource(flags, async (source) => {
        let last = show(cli, await source.query(filter, limit, 'newest'), filter.since_seq ?? 0);
        if (!flags.follow) return;
        await interruptible(cli.terminal, async (signal) => {
          while (!signal.aborted) {
            const entries = await source.query({ ...filter, since_seq: last }, PAGE, 'oldest');
            last = show(cli, entries, last);
            if (entries.length < PAGE) await sleep(FOLLOW_INTERVAL_MS, undefined, { signal }).catch(() => {});
          }
        });
      });
    });

const queryCommand: CommandBuilder = (context) =>
  withFilters(new Command('query').description('show the records that match, oldest first'))
    .option('--limit <n>', 'at most so many, the newest', '1000')
    .addHelpText(
      'after',
      `
Examples:
  clove audit query --denied --agent 7
  clove audit query --category SECURITY --since 2026-01-31T00:00:00Z --json`,
    )
    .action(async (flags: FilterFlags & { limit: string }, command: Command) => {
      const cli = context(command);
      const filter = filterOf(flags);
      const limit = parseCount(flags.limit, '--limit');
      await withAuditSource(flags, async (source) => {
        show(cli, await source.query(filter, limit, 'newest'), 0);
      });
    });

const verifyCommand: CommandBuilder = (context) =>
  withSource(new Command('verify').description('check that no record was changed, added or taken away'))
    .option('--anchor <file>', 'its anchor, where that is not in the data directory')
    .addOption(new Option('--file <export>', 'check an export (JSONL) by itself').conflicts('dataDir'))
    .addHelpText(
      'after',
      `
Exit status: 0 the log is whole · 1 it is not; the first record concerned is named
Examples:
  clove audit verify
  clove audit verify --data-dir /var/lib/clove
  clove audit verify --file audit.jsonl`,
    )
    .action(async (flags: SourceFlags & { anchor?: string; file?: string }, command: Command) => {
      const cli = context(command);
      const report =
        flags.file === undefined
          ? await withAuditSource(flags, (source) => source.verify())
          : await verifyExportFile(flags.file);
      if (!report.ok) cli.setExitCode(EXIT.failed);
      if (cli.json) {
        cli.terminal.out(JSON.stringify(report));
        return;
      }
      const dropped = report.chains.reduce((sum, chain) => sum + chain.dropped, 0);
      const { anchor } = report;
      const anchoring =
        anchor.seq === null
          ? 'without an anchor: whether the end was cut off is not known'
          : `anchored at ${anchor.seq} (${anchor.unanchored} behind it)`;
      if (report.ok) {
        cli.terminal.out(
          `whole: ${report.records} records up to ${report.head_seq}, ${dropped} dropped by retention, ${anchoring}`,
        );
        return;
      }
      const first = report.first_bad_seq === null ? '' : `, first bad record: ${report.first_bad_seq}`;
      cli.terminal.out(`NOT whole${first}`);
      for (const { kind, text } of report.problems) cli.terminal.out(`  ${kind}: ${escapeLine(text)}`);
    });

const exportCommand: CommandBuilder = (context) =>
  withFilters(new Command('export').description('write the records that match to a file or stdout'))
    .addOption(new Option('--format <format>', 'how').choices(['jsonl', 'csv']).default('jsonl'))
    .option('-o, --output <file>', 'where to; must not be there yet')
    .addHelpText(
      'after',
      `
Examples:
  clove audit export -o audit.jsonl
  clove audit export --format csv --category SECURITY --data-dir /var/lib/clove > security.csv`,
    )
    .action(async (flags: FilterFlags & { format: 'jsonl' | 'csv'; output?: string }, command: Command) => {
      const cli = context(command);
      const filter = filterOf(flags);
      const count = await withAuditSource(flags, (source) =>
        writeOut(source, filter, flags.format, flags.output),
      );
      cli.terminal.note(`${count} records exported`);
    });

async function writeOut(
  source: AuditSource,
  filter: AuditFilter,
  format: 'jsonl' | 'csv',
  file: string | undefined,
): Promise<number> {
  const stream = file === undefined ? process.stdout : createWriteStream(file, { flags: 'wx', mode: 0o600 });
  const failed = Promise.withResolvers<never>();
  stream.once('error', (error) =>
    failed.reject(
      new CloveError('IO', `cannot write ${file ?? 'stdout'}: ${error.message}`, { cause: error }),
    ),
  );
  const write = async (line: string): Promise<void> => {
    if (!stream.write(`${line}\n`)) await Promise.race([once(stream, 'drain'), failed.promise]);
  };
  failed.promise.catch(() => {});
  let count = 0;
  if (format === 'csv') await write(toCsvHeader());
  for await (const entry of source.all(filter)) {
    await write(format === 'csv' ? toCsvLine(entry) : toJsonLine(entry));
    count += 1;
  }
  if (file !== undefined) {
    stream.end();
    await Promise.race([once(stream, 'finish'), failed.promise]);
  }
  return count;
}

/** Returns the position to go on from. */
function show(cli: CliContext, entries: Awaited<ReturnType<AuditSource['query']>>, last: number): number {
  for (const entry of entries) cli.terminal.out(cli.json ? toJsonLine(entry) : entryLine(entry));
  return entries.at(-1)?.seq ?? last;
}

function filterOf(flags: FilterFlags): AuditFilter {
  const agent = flags.agent === undefined ? undefined : parseTarget(flags.agent);
  if (typeof agent === 'string') throw new CloveError('USAGE', `--agent: '${agent}' is not an id`);
  return {
    ...(flags.category === undefined ? {} : { categories: flags.category.map(categoryOf) }),
    ...(agent === undefined ? {} : { agent_id: agent }),
    ...(flags.event === undefined ? {} : { event_types: flags.event }),
    ...(flags.syscall === undefined ? {} : { syscall: flags.syscall.toUpperCase() }),
    ...(flags.denied ? { decision: 'deny' as const } : flags.allowed ? { decision: 'allow' as const } : {}),
    ...(flags.outcome === undefined ? {} : { outcome: flags.outcome.toUpperCase() }),
    ...(flags.since === undefined ? {} : { from: timeOf(flags.since, '--since') }),
    ...(flags.until === undefined ? {} : { to: timeOf(flags.until, '--until') }),
    ...(flags.after === undefined ? {} : { since_seq: parseCount(flags.after, '--after', 0) }),
  };
}

function categoryOf(name: string): AuditCategory {
  const found = AUDIT_CATEGORIES.find((category) => category === name.toUpperCase());
  if (found !== undefined) return found;
  throw new CloveError('USAGE', `--category: there is no '${name}'`, {
    hint: `There are ${AUDIT_CATEGORIES.join(', ')}.`,
  });
}

function timeOf(text: string, option: string): string {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) {
    throw new CloveError('USAGE', `${option}: '${text}' is not a time`, {
      hint: 'write for example 2026-01-31T12:00:00Z',
    });
  }
  return new Date(ms).toISOString();
}
