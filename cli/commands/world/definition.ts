import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import { CloveError, isCloveError } from '../../../errors/index.ts';
import type { CommandBuilder } from '../../context.ts';
import { EXIT } from '../../exit-codes.ts';
import { escapeLine } from '../../ui/escape.ts';
import { plural } from '../../ui/format.ts';

interface Issue {
  readonly path: string;
  readonly line: number | null;
  readonly column: number | null;
  readonly message: string;
}

export const validateCommand: CommandBuilder = (context) =>
  new Command('validate')
    .description('check world files: every mistake with its line, and what was expected')
    .argument('<files...>', 'YAML, JSON, TypeScript or JavaScript')
    .action(async (files: string[], _flags: unknown, command: Command) => {
      const cli = context(command);
      const { readWorldFile } = await import('../../../worlds/resolve.ts');
      const { describeIssue } = await import('../../../worlds/definition-file.ts');
      const results: Record<string, unknown>[] = [];
      for (const file of files) {
        try {
          const { definition, warnings } = await readWorldFile(file);
          results.push({ file, valid: true, name: definition.name ?? null, warnings });
          if (cli.json) continue;
          cli.terminal.out(
            `${escapeLine(file)}: good${definition.name === undefined ? '' : ` (${escapeLine(definition.name)})`}`,
          );
          for (const warning of warnings) cli.terminal.out(`  note: ${escapeLine(warning)}`);
        } catch (error) {
          if (!isCloveError(error)) throw error;
          const issues = issuesOf(error);
          results.push({ file, valid: false, issues });
          cli.setExitCode(EXIT.failed);
          if (cli.json) continue;
          cli.terminal.out(`${escapeLine(file)}: ${plural(issues.length, 'mistake')}`);
          for (const issue of issues) cli.terminal.out(`  ${escapeLine(describeIssue(file, issue))}`);
          if (error.hint !== undefined) cli.terminal.out(`  ${error.hint}`);
        }
      }
      if (cli.json) cli.terminal.out(JSON.stringify(results));
    });

function issuesOf(error: CloveError): readonly Issue[] {
  const issues = error.details?.issues;
  if (Array.isArray(issues)) return issues as Issue[];
  return [{ path: '', line: null, column: null, message: error.message }];
}

export const newCommand: CommandBuilder = (context) =>
  new Command('new')
    .description('write a world file to begin with')
    .argument('<file>', 'where to; a name without an extension gets .yaml')
    .option('--from <world>', 'a world of the catalogue it builds on', 'blank')
    .option('--force', 'over a file that is there')
    .addHelpText(
      'after',
      '\nExample:\n  clove world new shop.yaml --from e-commerce && clove world create shop.yaml',
    )
    .action(async (given: string, flags: { from: string; force?: boolean }, command: Command) => {
      const cli = context(command);
      const { catalogWorld } = await import('../../../worlds/catalog/index.ts');
      const base = await catalogWorld(flags.from);
      const file = path.extname(given) === '' ? `${given}.yaml` : given;
      if (!/\.(ya?ml|json)$/.test(file)) throw new CloveError('USAGE', `${file}: a world file ends in .yaml`);
      if (existsSync(file) && flags.force !== true) {
        throw new CloveError('CONFLICT', `${file} is there already`, { hint: '--force writes over it.' });
      }
      const name = path.basename(file).replace(/\.[^.]+$/, '');
      writeFileSync(file, template(name, flags.from, base.description ?? ''));
      if (cli.json) cli.terminal.out(JSON.stringify({ file, from: flags.from }));
      else
        cli.terminal.out(
          `${escapeLine(file)} builds on ${flags.from}; try: clove world create ${escapeLine(file)}`,
        );
    });

function template(name: string, from: string, description: string): string {
  return `# A world. All there is to say is in docs/worlds.md; \`clove world validate\` checks it.
name: ${JSON.stringify(name)}
description: ${JSON.stringify(description)}
# What is not said here is as in this world of the catalogue.
extends: ${from}
seed: 1

# files:
#   initial:
#     /work/README.md: "What the agents find."
#   readonly: ["/etc/**"]

# network:
#   routes:
#     - host: api.example.test
#       method: GET
#       path: /users/:id
#       json: { id: "{{params.id}}" }

# clock: skip          # real | scale | step | skip

# schedule:
#   - at: +1h
#     event: network_partition
#     params: { hosts: [api.example.test] }
#     for: 10m

# chaos:
#   rules:
#     - event: slow_io
#       params: { ms: 50, jitter_ms: 20 }
`;
}
