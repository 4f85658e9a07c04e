import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { MainModule, Mol } from '@rdkit/rdkit';
import { CloveError } from '../../../errors/index.ts';

export type Rdkit = MainModule;
/** A parsed molecule in WASM memory. Declare it with `using`, or call `delete()`: the collector does not free it. */
export type Molecule = Mol;

const require = createRequire(import.meta.url);

/**
 * Longer SMILES are refused before RDKit sees them: its recursive writers overflow the WASM stack, and then crash or never
 * end (measured: a chain of 700 atoms; 500 work). The longest SMILES of the four data sets has 385 characters.
 */
export const MAX_SMILES_LENGTH = 500;

let loading: Promise<Rdkit> | undefined;

/** RDKit's WebAssembly build, loaded once per thread (about 80 ms, 190 MB resident). Throws SETUP_FAILED. */
export function loadRdkit(): Promise<Rdkit> {
  loading ??= instantiate();
  return loading;
}

async function instantiate(): Promise<Rdkit> {
  try {
    // The package is CommonJS, although its types describe an ES module.
    const initialise = require('@rdkit/rdkit') as (options: { wasmBinary: Uint8Array }) => Promise<Rdkit>;
    // Handing over the bytes keeps the loader from calling `fetch` on a file path, which Node refuses.
    const rdkit = await initialise({
      wasmBinary: readFileSync(require.resolve('@rdkit/rdkit/RDKit_minimal.wasm')),
    });
    // Rejected molecules are reported by the caller; RDKit's own lines would go to the terminal.
    rdkit.disable_logging();
    return rdkit;
  } catch (cause) {
    loading = undefined;
    throw new CloveError('SETUP_FAILED', 'the chemistry library (RDKit, WebAssembly) did not load', {
      hint: 'Run `npm install` again; the package @rdkit/rdkit carries the file RDKit_minimal.wasm.',
      cause,
    });
  }
}

/** Version of the installed package, read without loading the library: part of every cache key. */
export function rdkitPackageVersion(): string {
  const manifest = path.join(path.dirname(require.resolve('@rdkit/rdkit')), '..', 'package.json');
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}

/** The molecule, sanitised with RDKit's defaults, or null when RDKit rejects it or it has no atoms. */
export function parseSmiles(rdkit: Rdkit, smiles: string): Molecule | null {
  if (smiles.length > MAX_SMILES_LENGTH) return null;
  let molecule: Molecule | null;
  try {
    molecule = rdkit.get_mol(smiles);
  } catch (cause) {
    // A C++ exception is RDKit's verdict on this input; anything else is a fault of the instance.
    if ((cause as Error | null)?.constructor.name === 'Exception') return null;
    throw new CloveError('INTERNAL', 'RDKit failed while reading a SMILES', { cause, details: { smiles } });
  }
  if (molecule === null) return null;
  if (molecule.get_num_atoms() === 0) {
    molecule.delete();
    return null;
  }
  return molecule;
}
