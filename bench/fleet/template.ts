/** The files of a new scenario, to begin from: one that runs as it is. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CloveError } from '../../errors/index.ts';

const NAME = /^[a-z][a-z0-9-]{0,47}$/;

/** Writes them below `folder`/`name`; returns their paths. @throws USAGE, CONFLICT when there is such a folder */
export function newScenario(folder: string, name: string): string[] {
  if (!NAME.test(name))
    throw new CloveError('USAGE', `"${name}" is no name of a scenario`, {
      hint: 'Names are of a-z, 0-9 and -, and begin with a letter.',
    });
  const target = join(folder, name);
  if (existsSync(target)) throw new CloveError('CONFLICT', `${target} is there already`);
  return Object.entries(filesOf(name)).map(([file, content]) => {
    const path = join(target, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    return path;
  });
}

function filesOf(name: string): Record<string, string> {
  return {
    'scenario.mjs': `// @ts-check
/** @type {import('clove/bench').FleetScenario} */
export default {
  kind: 'fleet',
  name: '${name}',
  title: '${name}',
  description: 'Two workers double numbers; one is killed in the middle of it and comes back.',
  version: '1',
  roles: {
    worker: {
      title: 'doubles numbers',
      program: { script: new URL('./agents/worker.mjs', import.meta.url) },
      count: 2,
      limits: { memory_mb: 128, cpu: 1, max_pids: 32 },
      restart: { policy: 'on-failure', backoffMs: 50 },
    },
  },
  faults: [{ kind: 'kill', role: 'worker', count: 1, betweenMs: [500, 1000] }],
  budgets: { wallMs: 60_000, memoryBytes: 256 * 2 ** 20, agents: 2 },
  metrics: [{ path: 'answers', label: 'right answers', format: '.0f', higherIsBetter: true }],

  async oracle(fleet) {
    const workers = await fleet.start();
    const killed = await fleet.event(({ type }) => type === 'AGENT_EXITED', { what: 'the fault' });
    let right = 0;
    for (const { name } of workers)
      for (let number = 1; number <= 10; number++) {
        const { answer } = await fleet.ask(name, { number });
        if (answer.result === 2 * number) right++;
      }
    fleet.metric('answers', right);
    await fleet.check('all-answered', 'Both workers answer, also the one that was killed', () => ({
      holds: right === 20,
      observed: \`\${right} of 20 right answers\`,
      evidence: [{ source: 'event', text: \`\${killed.agent} ended by \${killed.data.signal}\` }],
    }));
  },
};
`,
    'agents/worker.mjs': `import { connect } from 'clove/sdk';

const clove = await connect();
for await (const { message } of clove.messages())
  if (message?.ask !== undefined)
    await clove.send('oracle', { answer: message.ask, result: 2 * message.number });
`,
  };
}
