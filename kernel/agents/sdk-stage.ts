import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import path from 'node:path';
import { CloveError } from '../../errors/index.ts';

/** What agents load, relative to the package (or to dist/ in a published one). */
const PARTS = ['sdk/typescript', 'kernel/protocol', 'kernel/wire/codec', 'errors'];
/** Where it is inside. */
export const SDK_TARGET = '/opt/clove';
export const PRELOAD = 'preload.js';

/** Folder of the Python package in the staged one: what PYTHONPATH names. */
export const PYTHON_FOLDER = 'python';

/** An older Node than the kernel's own runs too, without the SDK. */
const PRELOAD_SOURCE = `import module from 'node:module';
const sdk = new URL('./sdk/typescript/index.js', import.meta.url).href;
module.registerHooks?.({
  resolve: (specifier, context, next) =>
    specifier === 'clove/sdk' ? { url: sdk, format: 'module', shortCircuit: true } : next(specifier, context),
});
`;

/**
 * Writes the SDKs into a folder that agents get read-only: Node agents import 'clove/sdk' and Python agents clove_sdk with
 * nothing installed. As plain JavaScript, so that none spends its start-up on stripping types. @throws SETUP_FAILED
 */
export async function stageSdk(folder: string): Promise<void> {
  const extension = path.extname(import.meta.filename);
  const base = path.join(import.meta.dirname, '..', '..');
  for (const part of PARTS) {
    const source = path.join(base, part);
    if (existsSync(source)) await stageFolder(source, path.join(folder, part), extension);
    else if (existsSync(source + extension))
      await stageFile(source + extension, path.join(folder, `${part}.js`));
    else throw new CloveError('SETUP_FAILED', `the installation of Clove lacks ${part}`);
  }
  // The Python package is not compiled: in a published one it is beside dist/.
  const root = extension === '.ts' ? base : path.dirname(base);
  const python = path.join(root, 'sdk', 'python', 'src', 'clove_sdk');
  await stagePython(python, path.join(folder, PYTHON_FOLDER, 'clove_sdk'));
  await writeFile(path.join(folder, 'package.json'), '{"type":"module"}\n', { mode: 0o644 });
  await writeFile(path.join(folder, PRELOAD), PRELOAD_SOURCE, { mode: 0o644 });
}

async function stageFolder(source: string, target: string, extension: string): Promise<void> {
  await mkdir(target, { recursive: true, mode: 0o755 });
  for (const entry of await readdir(source, { withFileTypes: true })) {
    const from = path.join(source, entry.name);
    if (entry.isDirectory()) await stageFolder(from, path.join(target, entry.name), extension);
    else if (isModule(entry.name, extension)) {
      await stageFile(from, path.join(target, `${entry.name.slice(0, -extension.length)}.js`));
    }
  }
}

async function stagePython(source: string, target: string): Promise<void> {
  await mkdir(target, { recursive: true, mode: 0o755 });
  for (const entry of await readdir(source, { withFileTypes: true })) {
    const from = path.join(source, entry.name);
    const to = path.join(target, entry.name);
    if (entry.isDirectory() && entry.name !== '__pycache__') await stagePython(from, to);
    else if (entry.name.endsWith('.py') || entry.name === 'py.typed') {
      await writeFile(to, await readFile(from), { mode: 0o644 });
    }
  }
}

function isModule(name: string, extension: string): boolean {
  return name.endsWith(extension) && !name.endsWith(`.test${extension}`) && !name.endsWith('.d.ts');
}

async function stageFile(source: string, target: string): Promise<void> {
  const text = await readFile(source, 'utf8');
  const script = source.endsWith('.ts') ? withJsImports(stripTypeScriptTypes(text)) : text;
  await mkdir(path.dirname(target), { recursive: true, mode: 0o755 });
  await writeFile(target, script, { mode: 0o644 });
}

/** Relative imports of the sources end in .ts (biome's useImportExtensions sees to it). */
function withJsImports(text: string): string {
  return text.replace(/(\bfrom\s*|\bimport\s*\(?\s*)'(\.{1,2}\/[^'\n]+)\.ts'/g, "$1'$2.js'");
}
