/** The longer run: node test/fuzz/run.ts [seconds=300] [seed] [connections=8]. Exit status 1 = something was found. */
import { fuzzProtocol } from './protocol-fuzz.ts';

const [seconds = 300, seed = Date.now() % 1e9, connections = 8] = process.argv.slice(2).map(Number);
console.log(`seed ${seed}, ${seconds} s, ${connections} connections`);
const report = await fuzzProtocol({ seed, seconds, connections });
console.log(`${report.calls} calls, ${report.succeeded.size} syscalls with success`);
console.log(report.codes);
for (const { residentBytes, descriptors, threads } of report.atRest) {
  console.log(
    `at rest: ${Math.round(residentBytes / 2 ** 20)} MiB, ${descriptors} descriptors, ${threads} threads`,
  );
}
for (const finding of report.findings) console.log(`FOUND ${finding}`);
process.exitCode = report.findings.length === 0 ? 0 : 1;
