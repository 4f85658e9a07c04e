/**
 * node bench/micro/deaths.ts [agents] [step,step… | from-to]: the kernel killed as by kill -9 at every step of a setup while that many agents
 * live (default 100; 1-20 are the first twenty steps); how long after the start of the next one nothing is left.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setupSteps } from '../../native/index.ts';
import { type Death, DyingKernel } from '../testing/deaths.ts';

const agents = Number(process.argv[2] ?? 100);
const steps = chosen(process.argv[3]);
/** Steps by name, by their places in the list of all, or all of them. */
function chosen(argument: string | undefined): readonly string[] {
  if (argument === undefined) return setupSteps();
  const range = /^(\d+)-(\d+)$/.exec(argument);
  return range === null ? argument.split(',') : setupSteps().slice(Number(range[1]) - 1, Number(range[2]));
}

const folder = mkdtempSync(path.join(tmpdir(), 'clove-deaths-'));
const kernel = new DyingKernel(folder, agents);
const deaths: Death[] = [];
try {
  for (const step of steps) {
    const death = await kernel.dieAt(step);
    deaths.push(death);
    console.log(
      `${step.padEnd(20)} ${death.reached ? 'died there' : 'no such step here, killed after it'}: answers after ${death.readyMs.toFixed(0)} ms, clean after ${death.cleanMs.toFixed(0)} ms${death.ran ? ', THE AGENT RAN' : ''}${death.left.length === 0 ? '' : `, left: ${death.left.join('; ')}`}`,
    );
  }
} finally {
  await kernel.close();
  rmSync(folder, { recursive: true, force: true });
}
const clean = deaths.map(({ cleanMs }) => cleanMs).sort((a, b) => a - b);
const reached = deaths.filter((death) => death.reached).length;
const bad = deaths.filter(({ left, ran }) => left.length > 0 || ran).length;
console.log(
  `${deaths.length} deaths with ${agents} agents, ${reached} of them at a step; clean after ${clean[clean.length >> 1]?.toFixed(0)} ms (median), ${clean.at(-1)?.toFixed(0)} ms at most; ${bad} left something or let the agent run`,
);
