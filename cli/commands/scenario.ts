import path from 'node:path';
import { Command } from 'commander';
import type { Scenario } from '../../bench/scenario.ts';
import type { FoundScenario } from '../../bench/scenarios.ts';
import { CloveError, errorToData } from '../../errors/index.ts';
import type { CommandBuilder } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { escapeLine } from '../ui/escape.ts';
import { formatBytes, formatDuration, plural } from '../ui/format.ts';
import { renderTable } from '../ui/table.ts';

export const scenarioCommand: CommandBuilder = (context) => {
  const scenario = new Command('scenario').description('list, show, check and begin scenarios').addHelpText(
    'after',
    `
Examples:
  clove scenario list
  clove scenario show fault-isolation
  clove scenario new my-fleet && clove bench run my-fleet
  clove scenario validate ./scenarios/my-fleet

Scenarios come with Clove, lie in ./scenarios (the project's), or in ~/.config/clove/scenarios (yours).
A folder cannot replace one that comes with Clove. docs/scenarios.md has a tutorial.`,
  );
  scenario.addCommand(listCommand(context));
  scenario.addCommand(showCommand(context));
  scenario.addCommand(newCommand(context));
  scenario.addCommand(validateCommand(context));
  return scenario;
};

const listCommand: CommandBuilder = (context) =>
  new Command('list')
    .description('list the scenarios there are, and where they come from')
    .action(async (_flags, command: Command) => {
      const { json, terminal } = context(command);
      const { findScenarios, loadScenarioFile } = await import('../../bench/scenarios.ts');
      const rows = [];
      for (const found of findScenarios()) {
        const row = { ...found, title: '', kind: '', error: null as string | null };
        try {
          const scenario = await loadScenarioFile(found);
          rows.push({ ...row, title: scenario.title, kind: kindOf(scenario) });
        } catch (error) {
          rows.push({ ...row, error: errorToData(error).message });
        }
      }
      if (json) {
        terminal.out(JSON.stringify({ scenarios: rows }));
        return;
      }
      terminal.out(
        renderTable<(typeof rows)[number]>(
          [
            { title: 'scenario', value: ({ name }) => escapeLine(name) },
            { title: 'of', value: ({ origin }) => origin },
            { title: 'trials', value: ({ kind }) => kind || '–' },
            {
              title: '',
              value: ({ title, error }) => escapeLine(error === null ? title : `cannot be loaded: ${error}`),
            },
          ],
          rows,
        ),
      );
    });

const showCommand: CommandBuilder = (context) =>
  new Command('show')
    .description('what a scenario runs, with which limits, and what it measures')
    .argument('<scenario>', 'name, or path of its folder or file')
    .action(async (wanted: string, _flags, command: Command) => {
      const { json, terminal } = context(command);
      const { findScenario, loadScenarioFile } = await import('../../bench/scenarios.ts');
      const found = findScenario(wanted);
      const scenario = await loadScenarioFile(found);
      const facts = factsOf(scenario, found);
      if (json) {
        terminal.out(JSON.stringify(facts));
        return;
      }
      terminal.out(terminal.style('bold', escapeLine(scenario.title)));
      terminal.out(`${escapeLine(scenario.description)}\n`);
      terminal.out(`  ${escapeLine(found.file)} (${found.origin}), version ${escapeLine(scenario.version)}`);
      const { memoryBytes, timeoutMs } = scenario.limits;
      terminal.out(`  a trial: at most ${formatBytes(memoryBytes)} and ${formatDuration(timeoutMs)}`);
      const { fleet } = scenario;
      if (fleet !== undefined) {
        const roles = facts.roles ?? [];
        terminal.out(
          `\n${renderTable<(typeof roles)[number]>(
            [
              {
                title: 'role',
                value: ({ role, count }) => escapeLine(count === 1 ? role : `${role} ×${count}`),
              },
              { title: 'program', value: ({ program }) => escapeLine(program) },
              { title: 'limits', value: ({ limits }) => escapeLine(limits) },
              { title: 'restart', value: ({ restart }) => restart },
              { title: '', value: ({ title }) => escapeLine(title) },
            ],
            roles,
          )}`,
        );
        for (const fault of fleet.faults ?? [])
          terminal.out(
            `  fault: ${fault.kind} ${fault.count} of ${escapeLine(fault.role)}, ${fault.betweenMs.join(' to ')} ms after the start`,
          );
      }
      terminal.out(
        `\n  measures: ${scenario.presentation.metrics.map(({ label }) => escapeLine(label)).join('; ')}`,
      );
      for (const [name, help] of Object.entries(scenario.settings))
        terminal.out(`  --set ${escapeLine(name)}=…  ${escapeLine(help)}`);
      terminal.out(`\nRun it: clove bench run ${escapeLine(wanted)}`);
    });

const newCommand: CommandBuilder = (context) =>
  new Command('new')
    .description('begin a scenario from one that runs: ./scenarios/NAME')
    .argument('<name>', 'a-z, 0-9 and -')
    .option('--user', 'in ~/.config/clove/scenarios instead of this project')
    .action(async (name: string, flags: { user?: boolean }, command: Command) => {
      const { json, terminal } = context(command);
      const { scenarioFolders, scenarioNames } = await import('../../bench/scenarios.ts');
      const { newScenario } = await import('../../bench/fleet/template.ts');
      if (scenarioNames().includes(name))
        throw new CloveError('CONFLICT', `there is a scenario "${name}" already`);
      const folders = scenarioFolders();
      const files = newScenario(flags.user ? folders.user : folders.project, name);
      if (json) terminal.out(JSON.stringify({ name, files }));
      else {
        for (const file of files) terminal.out(escapeLine(path.relative('.', file)));
        terminal.out(`\nRun it: clove bench run ${name}`);
      }
    });

const validateCommand: CommandBuilder = (context) =>
  new Command('validate')
    .description('check the form of scenarios without running anything: schema, limits, scripts, budgets')
    .argument('[scenarios...]', 'names or paths (default: all there are)')
    .action(async (wanted: string[], _flags, command: Command) => {
      const { json, terminal, setExitCode } = context(command);
      const { findScenario, findScenarios } = await import('../../bench/scenarios.ts');
      const { validateScenario } = await import('../../bench/validate.ts');
      const all = wanted.length === 0 ? findScenarios() : wanted.map(findScenario);
      const verdicts = [];
      for (const found of all) verdicts.push({ ...found, ...(await validateScenario(found)) });
      if (verdicts.some(({ problems }) => problems.length > 0)) setExitCode(EXIT.failed);
      if (json) {
        terminal.out(JSON.stringify({ scenarios: verdicts }));
        return;
      }
      for (const { name, problems, trials } of verdicts) {
        if (problems.length === 0)
          terminal.out(`${terminal.style('green', '✓')} ${escapeLine(name)}: ${plural(trials, 'trial')}`);
        else terminal.out(`${terminal.style('red', '✗')} ${escapeLine(name)}`);
        for (const problem of problems) terminal.out(`    ${escapeLine(problem)}`);
      }
    });

function kindOf({ fleet }: Scenario): string {
  return fleet === undefined ? 'worker' : 'fleet';
}

function factsOf(scenario: Scenario, found: FoundScenario) {
  const { name, title, description, version, limits, settings, presentation, fleet } = scenario;
  const roles = Object.entries(fleet?.roles ?? {}).map(([role, definition]) => ({
    role,
    title: definition.title,
    count: definition.count ?? 1,
    program:
      'command' in definition.program
        ? (definition.program.command[0] ?? '')
        : path.basename(String(definition.program.script)),
    limits: Object.entries(definition.limits)
      .map(([limit, value]) => `${limit} ${limit === 'memory' ? formatBytes(Number(value)) : value}`)
      .join(', '),
    restart: definition.restart?.policy ?? 'never',
  }));
  return {
    name,
    kind: kindOf(scenario),
    origin: found.origin,
    file: found.file,
    title,
    description,
    version,
    limits,
    settings,
    metrics: presentation.metrics,
    ...(fleet === undefined
      ? {}
      : {
          roles,
          variants: fleet.variants ?? {},
          seeds: fleet.seeds ?? 1,
          budgets: fleet.budgets,
          faults: fleet.faults ?? [],
        }),
  };
}
