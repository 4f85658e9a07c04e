/**
 * Fills Node's compile cache with what a worker loads, and prints the cache's folder: `warm-host WORKER_URL`. An agent starts
 * from it in half the time, and can itself write nothing there.
 */
import { flushCompileCache, getCompileCacheDir } from 'node:module';
import '../../sdk/typescript/index.ts';
import './execute.ts';

await import(process.argv[2] ?? '');
// Not executed: it would wait for an order. Its imports above are most of what it loads.
flushCompileCache();
process.stdout.write(getCompileCacheDir() ?? '');
process.exit(0);
