import { Command } from 'commander';
import type { CommandBuilder } from '../context.ts';
import { advanceCommand, eventCommand, execCommand, joinCommand } from './world/act.ts';
import { branchCommand, createCommand, destroyCommand } from './world/create.ts';
import { newCommand, validateCommand } from './world/definition.ts';
import { diffCommand, listCommand, showCommand, stateCommand } from './world/look.ts';
import { worldRunCommand } from './world/run.ts';
import { shellCommand } from './world/shell.ts';
import { restoreCommand, snapshotCommand } from './world/snapshot.ts';

export const worldCommand: CommandBuilder = (context) => {
  const world = new Command('world')
    .description('worlds: files, network, time and luck of their own for agents')
    .addHelpText(
      'after',
      `
Examples:
  clove world create soc-lab                       a world of the catalogue, in a kernel (started if none runs)
  clove world run e-commerce -- curl -sS https://api.stripe.com/v1/charges   one command in a fresh, mounted world
  clove world exec soc-lab-0001 -- 'tail -3 /var/log/auth.log; curl -s http://siem.corp/alerts'
  clove world event soc-lab-0001 network_partition hosts=firewall.corp --for 10m
  clove world advance soc-lab-0001 1h && clove world diff soc-lab-0001
  clove world snapshot soc-lab-0001 lab.world && clove world restore lab.world
  clove world new my-world.yaml --from e-commerce && clove world validate my-world.yaml

Worlds and their files are described in docs/worlds.md.`,
    );
  for (const build of [
    validateCommand,
    newCommand,
    createCommand,
    listCommand,
    showCommand,
    joinCommand,
    worldRunCommand,
    execCommand,
    shellCommand,
    eventCommand,
    advanceCommand,
    stateCommand,
    diffCommand,
    snapshotCommand,
    restoreCommand,
    branchCommand,
    destroyCommand,
  ]) {
    world.addCommand(build(context));
  }
  return world;
};
