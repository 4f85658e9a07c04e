/**
 * node bench/micro/syscalls.ts [seconds]: latency of syscalls through a real socket, and of a sandbox from SPAWN to its end,
 * also with a heap of 1 GiB in the kernel's process. One table on stdout.
 */
import { Bench } from 'tinybench';
import { connect } from '../../sdk/typescript/index.ts';
import { withMeasuredKernel } from './kernel.ts';

const seconds = Number(process.argv[2] ?? 3);
const BALLAST_BYTES = 2 ** 30;

await withMeasuredKernel(async ({ socketPath }) => {
  const client = await connect(socketPath);
  const spawnTrue = async () => {
    const { id } = await client.spawn({ command: ['/bin/true'] });
    await client.wait(id);
  };
  const bench = new Bench({ time: seconds * 1000, warmupTime: 500, retainSamples: true });
  bench
    .add('NOOP', () => client.echo('0123456789abcdef'))
    .add('HELLO', () => client.hello())
    .add('STORE (durable)', () => client.store('key', { value: 1 }))
    .add('FETCH', () => client.fetch('key'))
    .add('SEND to itself + RECV', async () => {
      await client.send('micro', { n: 1 });
      await client.receive({ max: 1 });
    })
    .add('SPAWN /bin/true + WAIT', spawnTrue);
  await client.register('micro');
  await bench.run();
  report(bench);

  const ballast = Buffer.alloc(BALLAST_BYTES, 1);
  const heavy = new Bench({ time: seconds * 1000, warmupTime: 500, retainSamples: true });
  heavy.add(`SPAWN /bin/true + WAIT, RSS ${Math.round(process.memoryUsage.rss() / 2 ** 20)} MiB`, spawnTrue);
  await heavy.run();
  report(heavy);
  if (ballast[BALLAST_BYTES - 1] !== 1) throw new Error('the ballast was not kept');
  client.close();
});

function report(bench: Bench): void {
  for (const task of bench.tasks) {
    const { result } = task;
    if (result.state !== 'completed') {
      throw new Error(`${task.name}: ${result.state}`, 'error' in result ? { cause: result.error } : {});
    }
    const { p50, p99, samplesCount, rme } = result.latency;
    console.log(
      `${task.name.padEnd(40)} p50 ${p50?.toFixed(3).padStart(8)} ms  p99 ${p99?.toFixed(3).padStart(8)} ms  ±${rme.toFixed(1)} %  n=${samplesCount}`,
    );
  }
}
