/**
 * Fills Node's compile cache with what an agent of the bench loads, and prints the cache's folder: `warm-host WORKER_URL`.
 * Agents start from it in half the time, and can themselves write nothing there.
 */
import { flushCompileCache, getCompileCacheDir } from 'node:module';
import './agent-host.ts';

await import(process.argv[2] ?? '');
flushCompileCache();
process.stdout.write(getCompileCacheDir() ?? '');
process.exit(0);
