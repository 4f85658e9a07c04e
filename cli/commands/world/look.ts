import { Command } from 'commander';
import type { SyscallResponse } from '../../../sdk/typescript/index.ts';
import { SOCKET_OPTION, withKernel } from '../../connect.ts';
import type { CommandBuilder } from '../../context.ts';
import { escapeLine, escapeText } from '../../ui/escape.ts';
import { formatBytes, formatDuration, plural } from '../../ui/format.ts';
import { renderTable } from '../../ui/table.ts';
import type { SocketFlag } from './create.ts';
import { WORLD_ARGUMENT, withWorld } from './target.ts';

type Listed = SyscallResponse<'WORLD_LIST'>['worlds'][number];

export const listCommand: CommandBuilder = (context) =>
  new Command('list')
    .description('list worlds of the kernel, or those of the catalogue')
    .option('--catalog', 'ready-made worlds, for `create` and `new --from`')
    .addOption(SOCKET_OPTION())
    .action(async (flags: SocketFlag & { catalog?: boolean }, command: Command) => {
      const cli = context(command);
      if (flags.catalog === true) {
        const { describeCatalog } = await import('../../../worlds/catalog/index.ts');
        const worlds = await describeCatalog();
        cli.terminal.out(
          cli.json
            ? JSON.stringify(worlds)
            : renderTable(
                [
                  { title: 'name', value: ({ name }) => name },
                  { title: 'what it is', value: ({ description }) => description },
                ],
                worlds,
              ),
        );
        return;
      }
      const worlds = await withKernel(flags, (client) => client.worlds());
      if (cli.json) cli.terminal.out(JSON.stringify(worlds));
      else if (worlds.length === 0) cli.terminal.out('no worlds');
      else cli.terminal.out(table(worlds));
    });

function table(worlds: readonly Listed[]): string {
  const parts = (world: Listed) =>
    [world.vfs_enabled && 'files', world.network_mock_enabled && 'network', world.chaos_enabled && 'chaos']
      .filter(Boolean)
      .join(', ');
  return renderTable<Listed>(
    [
      { title: 'id', value: ({ id }) => escapeLine(id) },
      { title: 'name', value: ({ name }) => escapeLine(name) },
      { title: 'members', align: 'right', value: (world) => String(world.agent_count) },
      { title: 'calls', align: 'right', value: (world) => String(world.syscall_count) },
      { title: 'clock', value: (world) => world.clock_mode },
      { title: 'its time', value: (world) => world.world_time },
      { title: 'own', value: parts },
    ],
    worlds,
  );
}

export const showCommand: CommandBuilder = (context) =>
  new Command('show')
    .description('one world: what it is, who is in it, what comes next')
    .argument('<world>', WORLD_ARGUMENT)
    .addOption(SOCKET_OPTION())
    .action(async (named: string, flags: SocketFlag, command: Command) => {
      const cli = context(command);
      const state = (await withWorld(flags, named, (client, id) =>
        client.worldState(id),
      )) as unknown as Shown;
      if (cli.json) {
        cli.terminal.out(JSON.stringify(state));
        return;
      }
      const { vfs_metrics: files, network_metrics: network, clock, schedule } = state;
      const lines = [
        `${escapeLine(state.world_id)}  ${escapeLine(state.name)}`,
        ...(state.description === '' ? [] : [escapeText(state.description)]),
        '',
        `time      ${state.told_time}  (${clock.mode}, ${formatDuration(clock.monotonicMs)} since its start)`,
        `members   ${state.members.map(({ id: member, name }) => escapeLine(name || String(member))).join(', ') || 'none'}`,
        `files     ${plural(files.file_count, 'file')}, ${formatBytes(files.total_size_bytes)}, ${plural(files.modifications, 'change')}`,
        `network   ${network.mode}, ${plural(network.requests_intercepted, 'request')}, ${network.requests_refused} refused, ${network.requests_failed} failed`,
        `luck      seed ${state.seed}`,
        `going on  ${state.events.map(({ id: event, kind, until_ms }) => `${kind} (${event}${until_ms === null ? '' : `, until ${formatDuration(until_ms)}`})`).join(', ') || 'nothing'}`,
        `next      ${schedule.upcoming.map(({ name, dueMs }) => `${escapeLine(name)} at ${formatDuration(dueMs)}`).join(', ') || 'nothing'}`,
      ];
      const failed = schedule.latest.filter(({ error }) => error !== null);
      for (const { name, error } of failed)
        lines.push(`failed    ${escapeLine(name)}: ${escapeLine(error ?? '')}`);
      cli.terminal.out(lines.join('\n'));
    });

/** Members of the state that are shown. */
interface Shown {
  readonly world_id: string;
  readonly name: string;
  readonly description: string;
  readonly told_time: string;
  readonly seed: number;
  readonly members: readonly { readonly id: number; readonly name: string }[];
  readonly clock: { readonly mode: string; readonly monotonicMs: number };
  readonly vfs_metrics: {
    readonly file_count: number;
    readonly total_size_bytes: number;
    readonly modifications: number;
  };
  readonly network_metrics: {
    readonly mode: string;
    readonly requests_intercepted: number;
    readonly requests_refused: number;
    readonly requests_failed: number;
  };
  readonly events: readonly {
    readonly id: string;
    readonly kind: string;
    readonly until_ms: number | null;
  }[];
  readonly schedule: {
    readonly upcoming: readonly { readonly name: string; readonly dueMs: number }[];
    readonly latest: readonly { readonly name: string; readonly error: string | null }[];
  };
}

export const stateCommand: CommandBuilder = (context) =>
  new Command('state')
    .description('everything that is known of a world, as JSON')
    .argument('<world>', WORLD_ARGUMENT)
    .addOption(SOCKET_OPTION())
    .action(async (named: string, flags: SocketFlag, command: Command) => {
      const cli = context(command);
      const state = await withWorld(flags, named, (client, id) => client.worldState(id));
      cli.terminal.out(cli.json ? JSON.stringify(state) : escapeText(JSON.stringify(state, null, 2)));
    });

export const diffCommand: CommandBuilder = (context) =>
  new Command('diff')
    .description('what has become of a world’s files since it was made')
    .argument('<world>', WORLD_ARGUMENT)
    .option('--name-only', 'paths without their patches')
    .addOption(SOCKET_OPTION())
    .action(async (named: string, flags: SocketFlag & { nameOnly?: boolean }, command: Command) => {
      const cli = context(command);
      const changes = await withWorld(flags, named, (client, id) => client.diffWorld(id));
      if (cli.json) {
        cli.terminal.out(JSON.stringify(changes));
        return;
      }
      const signs = { added: 'A', changed: 'M', deleted: 'D' };
      for (const { path, change, kind, patch, bytes_after } of changes) {
        cli.terminal.out(`${signs[change]} ${escapeLine(path)}${kind === 'folder' ? '/' : ''}`);
        if (flags.nameOnly === true) continue;
        if (patch !== undefined) cli.terminal.out(escapeText(patch.trimEnd()));
        else if (kind === 'file') cli.terminal.out(`  (no text: ${formatBytes(bytes_after ?? 0)})`);
      }
      if (changes.length === 0) cli.terminal.note('no file has changed');
    });
