import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { CloveError } from '../errors/index.ts';

/** The folder of the package, from source (native/) as from the published form (dist/native/). */
export function packageRoot(): string {
  for (let folder = import.meta.dirname; ; folder = path.dirname(folder)) {
    const manifest = path.join(folder, 'package.json');
    if (
      existsSync(manifest) &&
      (JSON.parse(readFileSync(manifest, 'utf8')) as { name?: string }).name === 'clove'
    )
      return folder;
    if (folder === path.dirname(folder))
      throw new CloveError('SETUP_FAILED', 'the folder of the clove package cannot be found', {
        hint: 'Install clove again: its package.json is missing.',
      });
  }
}

export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(path.join(packageRoot(), 'package.json'), 'utf8')) as {
    version: string;
  };
  return version;
}
