import { CloveError } from '../../../../errors/index.ts';
import type { Molecule, Rdkit } from '../../chemistry/rdkit.ts';
import type { DatasetName } from '../sources.ts';

/**
 * Structural alerts and property rules by which the synthetic molecules are labelled. They follow published rules in kind; the
 * labels are theirs, not measurements.
 */

export interface Alert {
  readonly name: string;
  readonly smarts: string;
}

/**
 * Mutagenicity. Toxicophores after Kazius J, McGuire R, Bursi R. Derivation and validation of toxicophores for mutagenicity
 * prediction. J Med Chem 48 (2005) 312–320, and Benigni R, Bossa C. Structure alerts for carcinogenicity, and the Salmonella
 * assay system. Mutat Res 659 (2008) 248–261.
 */
export const MUTAGENICITY_ALERTS: readonly Alert[] = [
  { name: 'aromatic nitro', smarts: 'a[N+](=O)[O-]' },
  { name: 'primary aromatic amine', smarts: 'a[NX3;H2]' },
  { name: 'three-membered heterocycle', smarts: '[#6]1~[N,O,S]~[#6]1' },
  { name: 'nitroso', smarts: '[#6,#7][NX2]=[OX1]' },
  { name: 'unsubstituted heteroatom bonded to a heteroatom', smarts: '[$([NX3;H2]),$([OX2;H1])][NX3]' },
  { name: 'azo', smarts: '[#6][NX2]=[NX2][#6]' },
  { name: 'azide', smarts: '[NX2]=[N+]=[N-]' },
  { name: 'aliphatic halide', smarts: '[CX4;H1,H2][Cl,Br,I]' },
  { name: 'nitrogen mustard', smarts: '[NX3]CC[Cl,Br]' },
  { name: 'alkyl sulfonate', smarts: '[CX4]OS(=O)(=O)[#6]' },
  { name: 'alpha,beta-unsaturated aldehyde', smarts: '[CX3;H1](=O)[CX3]=[CX3]' },
  { name: 'polycyclic aromatic system', smarts: 'a1aaa2a(a1)aaa1aaaaa21' },
  { name: 'linear polycyclic aromatic system', smarts: 'a1aaa2aa3aaaaa3aa2a1' },
  { name: 'quinone', smarts: 'O=C1[#6]~[#6]C(=O)[#6]~[#6]1' },
];

/** Groups that Kazius et al. find to take away the mutagenicity of aromatic nitro groups and amines. */
export const DETOXIFYING_GROUPS: readonly Alert[] = [
  { name: 'trifluoromethyl on an aromatic ring', smarts: 'aC(F)(F)F' },
  { name: 'sulfonyl on an aromatic ring', smarts: 'aS(=O)(=O)[#7,#8,#6]' },
  { name: 'carboxylic acid on an aromatic ring', smarts: 'aC(=O)[OX2;H1]' },
];

const DETOXIFIED = new Set(['aromatic nitro', 'primary aromatic amine']);

/**
 * Alerts for toxic (reactive) metabolites and cytotoxic agents, after Stepan AF et al. Structural alert/reactive metabolite concept as
 * applied in medicinal chemistry. Chem Res Toxicol 24 (2011) 1345–1410.
 */
export const TOXICOPHORES: readonly Alert[] = [
  { name: 'quinone', smarts: 'O=C1[#6]~[#6]C(=O)[#6]~[#6]1' },
  { name: 'nitrogen mustard', smarts: '[NX3]CC[Cl,Br]' },
  { name: 'three-membered heterocycle', smarts: '[#6]1~[N,O,S]~[#6]1' },
  { name: 'hydrazine', smarts: '[NX3;H2][NX3]' },
  { name: 'thiourea', smarts: 'NC(=S)N' },
  { name: 'nitrosamine', smarts: '[NX3][NX2]=O' },
  { name: 'Michael acceptor', smarts: '[CX3](=O)[CX3;H1]=[CX3;H2]' },
  { name: 'alkyl sulfonate', smarts: '[CX4]OS(=O)(=O)[#6]' },
  { name: 'nitroaromatic', smarts: 'a[N+](=O)[O-]' },
];

export const BASIC_AMINE: Alert = {
  name: 'basic amine',
  smarts: '[NX3;!$(N[!#6]);!$(N[#6]=[!#6]);!$(Na);!$(NC=C);!$(NC#N)]',
};

export const ACID: Alert = { name: 'acid', smarts: '[C,S](=O)[OX2;H1]' };

/** All that decides labels, apart from the thresholds below. */
export const RULE_TABLES = [MUTAGENICITY_ALERTS, DETOXIFYING_GROUPS, TOXICOPHORES, BASIC_AMINE, ACID];

/** Says whether a rule calls a molecule positive. Throws CONFIG at once when an alert is no valid SMARTS. */
export type Rule = (molecule: Molecule) => boolean;

export function ruleFor(rdkit: Rdkit, dataset: DatasetName): Rule {
  const matcher = (alert: Alert): Rule => {
    const query = rdkit.get_qmol(alert.smarts);
    if (query === null) throw new CloveError('CONFIG', `the alert «${alert.name}» is no valid SMARTS`);
    return (molecule) => molecule.get_substruct_match(query) !== '{}';
  };
  switch (dataset) {
    case 'AMES':
      return mutagenicity(matcher);
    case 'ClinTox': {
      const alerts = TOXICOPHORES.map(matcher);
      return (molecule) => alerts.some((matches) => matches(molecule));
    }
    case 'hERG':
      return hergBlock(matcher(BASIC_AMINE), matcher(ACID));
    case 'BBBP':
      return brainPenetration(matcher(ACID));
  }
}

function mutagenicity(matcher: (alert: Alert) => Rule): Rule {
  const detoxifying = DETOXIFYING_GROUPS.map(matcher);
  const alerts = MUTAGENICITY_ALERTS.map((alert) => ({
    matches: matcher(alert),
    detoxified: DETOXIFIED.has(alert.name),
  }));
  return (molecule) => {
    let detoxified: boolean | undefined;
    return alerts.some((alert) => {
      if (!alert.matches(molecule)) return false;
      if (!alert.detoxified) return true;
      detoxified ??= detoxifying.some((matches) => matches(molecule));
      return !detoxified;
    });
  };
}

/**
 * The pharmacophore of a basic nitrogen among aromatic rings (Cavalli A et al. J Med Chem 45 (2002) 3844–3853), with a liability that
 * grows with lipophilicity and vanishes for acids (Waring MJ, Johnstone C. Bioorg Med Chem Lett 17 (2007) 1759–1764). The points and
 * their threshold are this project's.
 */
function hergBlock(isBasic: Rule, isAcid: Rule): Rule {
  return (molecule) => {
    if (isAcid(molecule)) return false;
    const { CrippenClogP: logP, NumAromaticRings: aromaticRings, amw } = properties(molecule);
    const points =
      (isBasic(molecule) ? 2 : 0) +
      (logP >= 2.5 ? 1 : 0) +
      (logP >= 4.5 ? 1 : 0) +
      (aromaticRings >= 2 ? 1 : 0) +
      (amw >= 350 ? 1 : 0);
    return points >= 3;
  };
}

/**
 * log BB = −0.0148 TPSA + 0.152 log P + 0.139 (Clark DE. J Pharm Sci 88 (1999) 815–821); positive from −1 up, as in Martins et al. (2012),
 * unless the molecule is an acid or heavier than 450 (van de Waterbeemd H et al. J Drug Target 6 (1998) 151–165).
 */
function brainPenetration(isAcid: Rule): Rule {
  return (molecule) => {
    const { CrippenClogP: logP, tpsa, amw } = properties(molecule);
    return -0.0148 * tpsa + 0.152 * logP + 0.139 >= -1 && amw <= 450 && !isAcid(molecule);
  };
}

interface Properties {
  readonly CrippenClogP: number;
  readonly NumAromaticRings: number;
  readonly amw: number;
  readonly tpsa: number;
}

function properties(molecule: Molecule): Properties {
  return JSON.parse(molecule.get_descriptors()) as Properties;
}
