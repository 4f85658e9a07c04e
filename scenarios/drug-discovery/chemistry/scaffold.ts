import type { Molecule, Rdkit } from './rdkit.ts';

/** The parts of RDKit's CommonChem JSON that are used here. */
interface JsonAtom {
  z?: number;
  impHs?: number;
  chg?: number;
  nRad?: number;
  isotope?: number;
}

interface JsonBond {
  bo?: number;
  atoms: [number, number];
}

interface JsonMolecule {
  atoms: JsonAtom[];
  bonds: JsonBond[];
  extensions?: { name: string; atomRings?: number[][] }[];
}

const SCAFFOLD_OPTIONS = JSON.stringify({ doIsomericSmiles: false });

/**
 * The Bemis–Murcko scaffold as canonical SMILES without stereochemistry: all ring systems, the linkers between them, and the
 * atoms doubly bonded to either (as RDKit's `MurckoScaffold.MurckoScaffoldSmiles` does; the WASM build lacks it).
 * Molecules without rings have the empty scaffold, and so form one group.
 * `known` remembers scaffolds between the molecules of one data set, of which many share one.
 * Bemis GW, Murcko MA. The properties of known drugs. 1. Molecular frameworks. J Med Chem 39 (1996) 2887–2893.
 */
export function scaffoldSmiles(rdkit: Rdkit, molecule: Molecule, known = new Map<string, string>()): string {
  const graph = (JSON.parse(molecule.get_json()) as { molecules: [JsonMolecule] }).molecules[0];
  const keep = scaffoldAtoms(graph);
  if (keep === undefined) return '';
  const json = subgraphJson(graph, keep);
  return known.getOrInsertComputed(json, () => canonicalSmiles(rdkit, json));
}

function canonicalSmiles(rdkit: Rdkit, json: string): string {
  using scaffold = rdkit.get_mol(json);
  // A scaffold that does not sanitise (removing a substituent broke an odd valence) is its own key: two molecules may then
  // be told apart that are alike, never the other way round.
  return scaffold === null ? json : scaffold.get_smiles(SCAFFOLD_OPTIONS);
}

/** Which atoms belong to the scaffold; undefined when there is no ring. */
function scaffoldAtoms(graph: JsonMolecule): Uint8Array | undefined {
  const rings = graph.extensions?.find(({ name }) => name === 'rdkitRepresentation')?.atomRings ?? [];
  if (rings.length === 0) return undefined;
  const count = graph.atoms.length;
  const inRing = new Uint8Array(count);
  for (const ring of rings) for (const atom of ring) inRing[atom] = 1;
  const neighbours: number[][] = Array.from({ length: count }, () => []);
  for (const {
    atoms: [a, b],
  } of graph.bonds) {
    neighbours[a]!.push(b);
    neighbours[b]!.push(a);
  }
  // Outside rings the graph is a forest, so cutting leaves until none is left keeps exactly the paths between rings.
  const keep = new Uint8Array(count).fill(1);
  const degree = neighbours.map((list) => list.length);
  const leaves: number[] = [];
  for (let atom = 0; atom < count; atom++) if (inRing[atom] === 0 && degree[atom]! <= 1) leaves.push(atom);
  for (let atom = leaves.pop(); atom !== undefined; atom = leaves.pop()) {
    keep[atom] = 0;
    for (const other of neighbours[atom]!) {
      if (keep[other] === 1 && inRing[other] === 0 && --degree[other]! === 1) leaves.push(other);
    }
  }
  const doublyBonded: number[] = [];
  for (const { bo = 1, atoms } of graph.bonds) {
    if (bo !== 2) continue;
    const [a, b] = atoms;
    if (keep[a] === 1 && keep[b] === 0) doublyBonded.push(b);
    else if (keep[b] === 1 && keep[a] === 0) doublyBonded.push(a);
  }
  for (const atom of doublyBonded) keep[atom] = 1;
  return keep;
}

/** CommonChem JSON of the kept atoms; hydrogens take the place of what was cut off. */
function subgraphJson(graph: JsonMolecule, keep: Uint8Array): string {
  const newIndex = new Int32Array(keep.length).fill(-1);
  const atoms: JsonAtom[] = [];
  for (let atom = 0; atom < keep.length; atom++) {
    if (keep[atom] === 0) continue;
    newIndex[atom] = atoms.length;
    const { z = 6, impHs = 0, chg = 0, nRad = 0, isotope = 0 } = graph.atoms[atom]!;
    atoms.push({ z, impHs, chg, nRad, isotope });
  }
  const bonds: JsonBond[] = [];
  for (const { bo = 1, atoms: ends } of graph.bonds) {
    const a = newIndex[ends[0]]!;
    const b = newIndex[ends[1]]!;
    if (a >= 0 && b >= 0) bonds.push({ bo, atoms: [a, b] });
    // Orders above 3 mark dative and other bonds that take up no hydrogen's place.
    else if (a >= 0 && bo <= 3) atoms[a]!.impHs! += bo;
    else if (b >= 0 && bo <= 3) atoms[b]!.impHs! += bo;
  }
  return JSON.stringify({
    rdkitjson: { version: 12 },
    defaults: {
      atom: { z: 6, impHs: 0, chg: 0, nRad: 0, isotope: 0, stereo: 'unspecified' },
      bond: { bo: 1, stereo: 'unspecified' },
    },
    molecules: [{ atoms, bonds }],
  });
}
