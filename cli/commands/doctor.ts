import { Command } from 'commander';
import { isCloveError } from '../../errors/index.ts';
import type { HostCapabilities, LayerReport } from '../../native/types.ts';
import type { CommandBuilder } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { escapeLine } from '../ui/escape.ts';
import { plural } from '../ui/format.ts';
import { layerTable } from '../ui/layers.ts';

interface Diagnosis {
  readonly ok: boolean;
  readonly host: HostCapabilities;
  /** What one real sandbox got, asked for everything and content with less. Empty when none could be made. */
  readonly layers: readonly LayerReport[];
  /** Why no sandbox could be made. */
  readonly error: { readonly code: string; readonly message: string; readonly hint: string | null } | null;
}

export const doctorCommand: CommandBuilder = (context) =>
  new Command('doctor')
    .description('make a sandbox and tell, layer by layer, what this machine can and cannot do')
    .action(async (_flags, command: Command) => {
      const cli = context(command);
      const diagnosis = await diagnose();
      if (!diagnosis.ok) cli.setExitCode(EXIT.failed);
      if (cli.json) {
        cli.terminal.out(JSON.stringify(diagnosis));
        return;
      }
      const { host, layers, error } = diagnosis;
      cli.terminal.out(
        `Linux ${escapeLine(host.kernelRelease)}, uid ${host.euid}, cgroup ${host.cgroup} (${host.cgroupControllers.join(' ') || 'no controllers'}), Landlock ABI ${host.landlockAbi}\n`,
      );
      if (layers.length > 0) cli.terminal.out(`${layerTable(cli.terminal, layers)}\n`);
      if (error) {
        cli.terminal.out(`no sandbox could be made: ${escapeLine(error.message)} [${error.code}]`);
        if (error.hint) cli.terminal.out(`  hint: ${escapeLine(error.hint)}`);
        return;
      }
      const missing = layers.filter(isMissing);
      cli.terminal.out(
        missing.length === 0
          ? 'every layer that was asked for is on'
          : `${plural(missing.length, 'layer')} missing: ${missing.map(({ layer }) => layer).join(', ')}; spawns that require them are refused`,
      );
    });

/** Makes one sandbox with the full recipe and looks at what became of each layer. */
async function diagnose(): Promise<Diagnosis> {
  const { hostCapabilities } = await import('../../native/index.ts');
  const { runForeground } = await import('../../kernel/foreground.ts');
  const { LAYERS } = await import('../../native/types.ts');
  const host = hostCapabilities();
  try {
    const { layers } = await runForeground({
      request: { command: ['/bin/true'], isolation: { allow_degraded: [...LAYERS] } },
      kernel: { logLevel: 'error' },
      stdin: null,
      onOutput: () => {},
    });
    return { ok: !layers.some(isMissing), host, layers, error: null };
  } catch (error) {
    if (!isCloveError(error)) throw error;
    return {
      ok: false,
      host,
      layers: [],
      error: { code: error.code, message: error.message, hint: error.hint ?? null },
    };
  }
}

function isMissing({ requested, state }: LayerReport): boolean {
  return requested && (state === 'off' || state === 'degraded');
}
