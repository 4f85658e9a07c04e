/**
 * node bench/micro/zygote.ts [rounds] [python] [module,module…] [node|python]: from SPAWN to the agent's first system call (its HELLO is answered),
 * forked from a template and started as a program, in turns, for Node and for Python with the modules named. All layers on.
 */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '../../sdk/typescript/index.ts';
import { withMeasuredKernel } from './kernel.ts';

const rounds = Number(process.argv[2] ?? 30);
const python = process.argv[3] ?? '/usr/bin/python3';
const modules = (process.argv[4] ?? 'json').split(',').filter((name) => name !== '');
const MEMORY_BYTES = 512 * 2 ** 20;

/** The same clock on both sides: CLOCK_MONOTONIC has no namespace here. */
const nowMs = () => Number(process.hrtime.bigint()) / 1e6;

const folder = mkdtempSync(join(tmpdir(), 'clove-micro-zygote-'));
chmodSync(folder, 0o755);
writeFileSync(
  join(folder, 'agent.mjs'),
  `import { connect } from 'clove/sdk';
const clove = await connect();
await clove.send('parent', { atMs: Number(process.hrtime.bigint()) / 1e6 });
await clove.close();
`,
);
writeFileSync(
  join(folder, 'agent.py'),
  `import time
${modules.map((name) => `import ${name}`).join('\n')}
import clove_sdk
with clove_sdk.CloveClient() as clove:
    clove.hello()
    clove.send_message({"atMs": time.monotonic_ns() / 1e6}, to_name="parent")
`,
);

const only = process.argv[5];
const subjects = [
  { name: 'node', script: join(folder, 'agent.mjs'), template: { runtime: 'node', preload: ['clove/sdk'] } },
  {
    name: `python ${modules.join(' ')}`,
    script: join(folder, 'agent.py'),
    python,
    template: { runtime: 'python', preload: ['clove_sdk', ...modules], memory: 2 * MEMORY_BYTES },
  },
] as const;

const quantile = (values: readonly number[], q: number) =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(q * values.length))] ?? Number.NaN;

try {
  await withMeasuredKernel(async ({ socketPath }) => {
    const client = await connect(socketPath);
    for (const { name, template, ...request } of subjects) {
      if (only !== undefined && template.runtime !== only) continue;
      const ways = {
        template: { ms: [] as number[], bytes: [] as number[] },
        program: { ms: [] as number[], bytes: [] as number[] },
      };
      let readyMs = Number.NaN;
      for (let round = -1; round < rounds; round++) {
        for (const way of ['template', 'program'] as const) {
          const startedMs = nowMs();
          const spawned = await client.spawn({
            ...request,
            limits: { memory: MEMORY_BYTES },
            ...(way === 'template' ? { template: { ...template, preload: [...template.preload] } } : {}),
          });
          if (way === 'template' && spawned.template?.used !== true)
            throw new Error(String(spawned.template?.reason));
          const exit = await client.wait(spawned.id);
          if (exit.exit_code !== 0) throw new Error(exit.log_tail);
          const [received] = await client.receive();
          if (received === undefined) throw new Error(`${name} has sent nothing`);
          const ms = (received.message as unknown as { atMs: number }).atMs - startedMs;
          // The first of both: the template is made, files come from the disk.
          if (round < 0 && way === 'template') readyMs = ms;
          if (round < 0) continue;
          ways[way].ms.push(ms);
          ways[way].bytes.push(exit.usage.memory_peak_bytes);
        }
      }
      console.log(`${name}: template and its first agent ${readyMs.toFixed(0)} ms`);
      for (const [way, { ms, bytes }] of Object.entries(ways)) {
        console.log(
          `  ${way.padEnd(9)} p50 ${quantile(ms, 0.5).toFixed(1)} ms  p99 ${quantile(ms, 0.99).toFixed(1)} ms  min ${Math.min(...ms).toFixed(1)} ms  peak memory ${(quantile(bytes, 0.5) / 2 ** 20).toFixed(1)} MiB`,
        );
      }
    }
    await client.close();
  });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
