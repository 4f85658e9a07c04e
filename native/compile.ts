// Compiles the sources of one target side by side, as many as there are processors, and links them. A program, because whoever
// loads the native part waits for it in one synchronous call: node native/compile.ts, the job as JSON on stdin.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

export interface CompileJob {
  readonly compiler: string;
  readonly flags: readonly string[];
  readonly sources: readonly string[];
  /** Folder for the object files; the caller makes and removes it. */
  readonly objects: string;
  readonly output: string;
}

const run = promisify(execFile);
const LINK_ONLY = /^(-shared|-static|-static-libgcc|-nostdlib|-no-pie|-Wl,.*)$/;
const FOR_LINKING =
  /^(-shared|-static|-static-libgcc|-nostdlib|-no-pie|-Wl,.*|-fPIC|-pthread|-O\d|-g|-fsanitize.*)$/;

async function compile({ compiler, flags, sources, objects, output }: CompileJob): Promise<void> {
  const compileFlags = flags.filter((flag) => !LINK_ONLY.test(flag));
  // Sources of two folders may have one name.
  const jobs = sources.map((source, index) => ({
    source,
    object: path.join(objects, `${index}-${path.basename(source)}.o`),
  }));
  const left = [...jobs];
  const worker = async () => {
    for (let job = left.shift(); job !== undefined; job = left.shift())
      await run(compiler, [...compileFlags, '-c', job.source, '-o', job.object]);
  };
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), jobs.length) }, worker));
  await run(compiler, [
    ...flags.filter((flag) => FOR_LINKING.test(flag)),
    ...jobs.map(({ object }) => object),
    '-o',
    output,
  ]);
}

try {
  await compile(JSON.parse(readFileSync(0, 'utf8')) as CompileJob);
} catch (error) {
  process.stderr.write(String((error as { stderr?: unknown }).stderr ?? error));
  // Not exitCode: the other compilers need not be waited for.
  process.exit(1);
}
