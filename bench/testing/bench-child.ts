/** A bench in a process of its own, to be killed: `node bench-child.ts run|resume JSON`. Prints the run's folder when it has one. */
import { resumeBench, runBench } from '../run.ts';
import { tinyScenario } from './tiny-scenario.ts';

const [mode = '', json = '{}'] = process.argv.slice(2);
const options = JSON.parse(json);
const listener = (event: { kind: string; runDirectory?: string }) => {
  if (event.kind === 'run') console.log(event.runDirectory);
};
if (mode === 'run') await runBench({ ...options, scenario: tinyScenario }, listener);
else await resumeBench(options.runDirectory, { scenario: tinyScenario }, listener);
