/** A bench in a process of its own, to be killed: `node bench-child.ts run|resume JSON`. Prints the run's folder once its first attempt has begun. */
import type { BenchListener } from '../events.ts';
import { resumeBench, runBench } from '../run.ts';
import { tinyScenario } from './tiny-scenario.ts';

const [mode = '', json = '{}'] = process.argv.slice(2);
const options = JSON.parse(json);
let runDirectory: string | undefined;
const listener: BenchListener = (event) => {
  if (event.kind === 'run') runDirectory = event.runDirectory;
  if (event.kind === 'attempt-start' && runDirectory !== undefined) {
    console.log(runDirectory);
    runDirectory = undefined;
  }
};
if (mode === 'run') await runBench({ ...options, scenario: tinyScenario }, listener);
else await resumeBench(options.runDirectory, { scenario: tinyScenario }, listener);
