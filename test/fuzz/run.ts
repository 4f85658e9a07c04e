/**
 * The longer run: node test/fuzz/run.ts [seconds=300] [seed] [connections=8] [rests=6] [folder for heap snapshots].
 * Exit status 1 = something was found.
 */
import { describeMemory } from './memory.ts';
import { fuzzProtocol } from './protocol-fuzz.ts';

const [seconds = 300, seed = Date.now() % 1e9, connections = 8, rests = 6] = process.argv
  .slice(2, 6)
  .map(Number);
const snapshotFolder = process.argv[6];
console.log(`seed ${seed}, ${seconds} s, ${connections} connections`);
const report = await fuzzProtocol({
  seed,
  seconds,
  connections,
  rests,
  ...(snapshotFolder === undefined ? {} : { snapshotFolder }),
  onRest: (memory, { calls }) => console.log(`at rest after ${calls} calls: ${describeMemory(memory)}`),
});
console.log(`${report.calls} calls, ${report.succeeded.size} syscalls with success`);
console.log(report.codes);
for (const finding of report.findings) console.log(`FOUND ${finding}`);
process.exitCode = report.findings.length === 0 ? 0 : 1;
