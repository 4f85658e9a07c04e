import { Command, Option } from 'commander';
import type { Diagnosis, LayerDiagnosis, Strength } from '../../kernel/doctor/diagnose.ts';
import type { HostFacts } from '../../kernel/doctor/facts.ts';
import { isMissing } from '../../native/missing.ts';
import type { CommandBuilder } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { escapeLine } from '../ui/escape.ts';
import { formatDuration, plural } from '../ui/format.ts';
import { layerTable } from '../ui/layers.ts';

interface DoctorFlags {
  readonly require: 'full' | 'reduced';
}

export const doctorCommand: CommandBuilder = (context) =>
  new Command('doctor')
    .description('make a sandbox and tell, layer by layer, what this machine can and cannot do')
    .addOption(
      new Option(
        '--require <strength>',
        'what has to be there: every layer, or the walls between an agent and the host',
      )
        .choices(['full', 'reduced'])
        .default('full'),
    )
    .addHelpText(
      'after',
      `
Examples:
  clove doctor                      every layer: on, off or degraded, why, and what to do about it
  clove doctor --require reduced    content with the walls; limits and users of their own may be missing
  clove doctor --json

Exit status: 0 what is required is there · 1 less · 125 no sandbox could be made at all`,
    )
    .action(async (flags: DoctorFlags, command: Command) => {
      const cli = context(command);
      const { diagnose } = await import('../../kernel/doctor/diagnose.ts');
      const diagnosis = await diagnose();
      const { strength, error } = diagnosis;
      const ok = strength === 'full' || (strength === 'reduced' && flags.require === 'reduced');
      if (!ok) cli.setExitCode(error === null ? EXIT.failed : EXIT.sandbox);
      const tookMs = Math.round(performance.now());
      if (cli.json) {
        cli.terminal.out(JSON.stringify({ ok, required: flags.require, tookMs, ...diagnosis }));
        return;
      }
      cli.terminal.out(`${describeHost(diagnosis.host)}\n`);
      if (error !== null) {
        cli.terminal.out(`no sandbox could be made: ${escapeLine(error.message)} [${error.code}]`);
        if (error.hint !== null) cli.terminal.out(`  remedy: ${escapeLine(error.hint)}`);
      } else {
        // The remedy stands below, once for all layers that have the same.
        cli.terminal.out(
          `${layerTable(
            cli.terminal,
            diagnosis.layers.map((layer) => ({ ...layer, hint: null })),
          )}\n`,
        );
        for (const line of remedies(diagnosis)) cli.terminal.out(line);
      }
      cli.terminal.out(`${VERDICTS[strength]} (${formatDuration(tookMs)})`);
    });

const VERDICTS: Readonly<Record<Strength, string>> = {
  full: 'full: every layer that was asked for is on',
  reduced: 'reduced: the walls stand; spawns that require what is missing are refused',
  none: 'none: walls are missing; spawns are refused unless they name what they can do without (--require least: all of it)',
};

function describeHost(host: HostFacts): string {
  const parts = [
    `Linux ${escapeLine(host.kernelRelease)}`,
    `uid ${host.euid}${host.euid === 0 && !host.sysAdmin ? ' without CAP_SYS_ADMIN' : ''}`,
    `cgroup ${host.cgroup} (${host.cgroupControllers.join(' ') || 'no controllers'}${host.delegatedCgroup === null ? '' : '; own group has some'})`,
    `Landlock ABI ${host.landlockAbi}`,
    `user namespaces ${host.userNamespaces ? 'allowed' : 'refused'}`,
    ...(host.container === null
      ? []
      : [`inside ${host.container === 'other' ? 'a container' : host.container}`]),
    ...(host.seccompMode === 2 ? ['under a seccomp filter'] : []),
  ];
  return parts.join(', ');
}

function remedies({ layers }: Diagnosis): string[] {
  const missing = layers.filter(isMissing);
  const by = Map.groupBy(missing, ({ remedy }: LayerDiagnosis) => remedy ?? 'no remedy is known');
  const lines = [...by].map(
    ([remedy, all]) => `  ${all.map(({ layer }) => layer).join(', ')}: ${escapeLine(remedy)}`,
  );
  return missing.length === 0
    ? []
    : [`${plural(missing.length, 'layer')} missing; what to do:`, ...lines, ''];
}
