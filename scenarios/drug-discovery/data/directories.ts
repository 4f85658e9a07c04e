import os from 'node:os';
import path from 'node:path';

/** `$XDG_CACHE_HOME/clove`, else `~/.cache/clove`. A relative XDG_CACHE_HOME is ignored, as its specification asks. */
export function cacheRoot(environment: NodeJS.ProcessEnv = process.env): string {
  const base = environment.XDG_CACHE_HOME;
  return path.join(
    base !== undefined && path.isAbsolute(base) ? base : path.join(os.homedir(), '.cache'),
    'clove',
  );
}

/** Where `clove data fetch` puts the published data sets. */
export function datasetCacheDirectory(environment?: NodeJS.ProcessEnv): string {
  return path.join(cacheRoot(environment), 'data');
}

/** Where prepared features are kept. */
export function featureCacheDirectory(environment?: NodeJS.ProcessEnv): string {
  return path.join(cacheRoot(environment), 'features');
}
