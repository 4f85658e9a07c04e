import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** The folder of the package, whether run from source or from dist/. */
export function packageRoot(): string {
  let directory = import.meta.dirname;
  while (!existsSync(path.join(directory, 'package.json'))) {
    const parent = path.dirname(directory);
    if (parent === directory) throw new Error('package.json not found above the command line');
    directory = parent;
  }
  return directory;
}

export function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(path.join(packageRoot(), 'package.json'), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}
