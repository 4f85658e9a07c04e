import { Command } from 'commander';
import type { CellState, ChaosEvent, ChaosResult } from '../../bench/demo/chaos.ts';
import type { CommandBuilder } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { formatDuration } from '../ui/format.ts';
import { interruptible } from '../ui/interrupt.ts';
import { parseCount } from '../ui/parse.ts';
import type { Terminal } from '../ui/terminal.ts';

const ROW = 25;

export const demoCommand: CommandBuilder = (context) => {
  const demo = new Command('demo').description('see for yourself, live');
  demo.addCommand(chaosCommand(context));
  return demo;
};

const chaosCommand: CommandBuilder = (context) =>
  new Command('chaos')
    .description('many agents, some killed at random: who comes back, how fast, and who noticed')
    .option('--agents <n>', 'how many', '100')
    .option('--kill <n>', 'how many of them are killed', '20')
    .option('--seed <n>', 'whom and when', '42')
    .addHelpText(
      'after',
      `
Examples:
  clove demo chaos
  clove demo chaos --agents 400 --kill 100 --seed 7
  clove demo chaos --json`,
    )
    .action(async (flags: { agents: string; kill: string; seed: string }, command: Command) => {
      const cli = context(command);
      const { runChaos } = await import('../../bench/demo/chaos.ts');
      const agents = parseCount(flags.agents, '--agents');
      const view = new ChaosView(cli.terminal, agents);
      const result = await interruptible(cli.terminal, (signal) =>
        runChaos(
          {
            agents,
            kill: parseCount(flags.kill, '--kill', 0),
            seed: parseCount(flags.seed, '--seed', 0),
            signal,
          },
          view.listen,
        ),
      );
      cli.terminal.endLive();
      if (cli.json) cli.terminal.out(JSON.stringify(result));
      else printResult(cli.terminal, result);
      if (!isGood(result)) cli.setExitCode(EXIT.failed);
    });

function isGood({ killed, restarted, affected }: ChaosResult): boolean {
  return restarted === killed && affected.length === 0;
}

/** A cell per agent on a terminal; a line per event elsewhere. */
class ChaosView {
  readonly #terminal: Terminal;
  readonly #cells: CellState[];
  #drawnAtMs = 0;

  constructor(terminal: Terminal, agents: number) {
    this.#terminal = terminal;
    this.#cells = Array.from({ length: agents }, () => 'waiting');
  }

  readonly listen = (event: ChaosEvent): void => {
    const terminal = this.#terminal;
    terminal.event({ type: event.kind, ...event });
    if (event.kind === 'state') {
      this.#cells[event.agent] = event.state;
      this.#draw(event.state !== 'running');
    } else if (event.kind === 'started') {
      terminal.note(
        `${event.agents} agents run, each in a sandbox of its own, after ${formatDuration(event.ms)}`,
      );
    } else if (terminal.progress === 'plain') {
      const who = `agent ${event.agent + 1}`;
      terminal.note(
        event.kind === 'killed'
          ? `  ✗ ${who} killed (process ${event.pid})`
          : `  ↻ ${who} back after ${formatDuration(event.ms)}`,
      );
    }
  };

  #draw(must: boolean): void {
    if (this.#terminal.progress !== 'tty') return;
    const now = performance.now();
    if (!must && now - this.#drawnAtMs < 40) return;
    this.#drawnAtMs = now;
    const lines: string[] = [];
    for (let at = 0; at < this.#cells.length; at += ROW)
      lines.push(
        `  ${this.#cells
          .slice(at, at + ROW)
          .map((cell) => this.#cell(cell))
          .join(' ')}`,
      );
    const count = (state: CellState) => this.#cells.filter((cell) => cell === state).length;
    lines.push(
      `  ${count('running')} untouched · ${this.#terminal.style('red', `${count('killed')} down`)} · ${this.#terminal.style('green', `${count('back')} back`)}`,
    );
    this.#terminal.live(lines);
  }

  #cell(state: CellState): string {
    const terminal = this.#terminal;
    switch (state) {
      case 'waiting':
        return terminal.style('dim', '·');
      case 'running':
        return '●';
      case 'killed':
        return terminal.style('red', '✗');
      case 'back':
        return terminal.style('green', '↻');
    }
  }
}

function printResult(terminal: Terminal, result: ChaosResult): void {
  const { agents, killed, restarted, restartMs, unaffected, affected, seed } = result;
  const others = agents - killed;
  terminal.out(
    `${terminal.style(restarted === killed ? 'green' : 'red', `${restarted} of ${killed}`)} killed agents are back${
      restartMs === null
        ? ''
        : `, p50 ${formatDuration(restartMs.p50)}, max ${formatDuration(restartMs.max)} after the signal (with the pause before a restart, drawn from 0 to 100 ms)`
    }`,
  );
  terminal.out(
    `${terminal.style(affected.length === 0 ? 'green' : 'red', `${unaffected} of ${others}`)} others never noticed: same process, no restart, still at work`,
  );
  for (const name of affected.slice(0, 10)) terminal.out(`  affected: ${name}`);
  terminal.out(`seed ${seed}, ${formatDuration(result.wallMs)} in all`);
}
