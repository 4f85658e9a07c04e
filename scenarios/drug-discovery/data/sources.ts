/** The four benchmark data sets as Therapeutics Data Commons (TDC) publishes them on Harvard Dataverse. */

export const DATASET_NAMES = ['hERG', 'AMES', 'BBBP', 'ClinTox'] as const;

export type DatasetName = (typeof DATASET_NAMES)[number];

export interface DatasetDefinition {
  readonly name: DatasetName;
  /** What label 1 means. */
  readonly endpoint: string;
  /** Name of the file in a data directory: tab separated, header `Drug_ID, Drug, Y`. */
  readonly file: string;
  readonly bytes: number;
  readonly rows: number;
  readonly positives: number;
  readonly sha256: string;
  readonly url: string;
  readonly license: string;
  readonly citation: string;
}

/** The identifiers are those of `name2id` in TDC's own metadata (PyTDC 1.1.15, `tdc/metadata.py`). */
const DATAVERSE = 'https://dataverse.harvard.edu/api/access/datafile/';

const TDC =
  'Huang K et al. Therapeutics Data Commons: machine learning datasets and tasks for drug discovery and development. ' +
  'NeurIPS Datasets and Benchmarks (2021).';

export const DATASETS: Readonly<Record<DatasetName, DatasetDefinition>> = {
  hERG: {
    name: 'hERG',
    endpoint: 'blocks the hERG potassium channel',
    file: 'herg.tab',
    bytes: 50_174,
    rows: 655,
    positives: 451,
    sha256: 'dfce97b6a89b710d20c93cf211f005fbee0d8445a60ca7df584cac430798a379',
    url: `${DATAVERSE}4259588`,
    license: 'CC BY 4.0',
    citation: `Wang S et al. ADMET evaluation in drug discovery. 16. Predicting hERG blockers by combining multiple pharmacophores and machine learning approaches. Mol Pharm 13 (2016) 2855–2866. ${TDC}`,
  },
  AMES: {
    name: 'AMES',
    endpoint: 'mutagenic in the Ames test',
    file: 'ames.tab',
    bytes: 344_128,
    rows: 7_278,
    positives: 3_974,
    sha256: '825c2b4c31c9cec81aa32eb394fd24e6b32ee4959905d4272e56483ecb6f3e16',
    url: `${DATAVERSE}4259564`,
    license: 'CC BY 4.0',
    citation: `Xu C et al. In silico prediction of chemical Ames mutagenicity. J Chem Inf Model 52 (2012) 2840–2847. ${TDC}`,
  },
  BBBP: {
    name: 'BBBP',
    endpoint: 'crosses the blood–brain barrier',
    file: 'bbb_martins.tab',
    bytes: 137_899,
    rows: 2_039,
    positives: 1_560,
    sha256: 'eb32676c7bf6e2bcd98b7625186bbb2ba4e4644c1d1468dfa18b6be665bd5e98',
    url: `${DATAVERSE}4259566`,
    license: 'CC BY 4.0',
    citation: `Martins IF et al. A Bayesian approach to in silico blood–brain barrier penetration modeling. J Chem Inf Model 52 (2012) 1686–1697. ${TDC}`,
  },
  ClinTox: {
    name: 'ClinTox',
    endpoint: 'failed clinical trials for toxicity',
    file: 'clintox.tab',
    bytes: 109_588,
    rows: 1_478,
    positives: 112,
    sha256: '6dbb8ee35b64f9efca4cac6de32183c82264a1195de10a1cb2b4a35b4b2e4d21',
    url: `${DATAVERSE}4259572`,
    license: 'CC BY 4.0',
    citation: `Gayvert KM, Madhukar NS, Elemento O. A data-driven approach to predicting successes and failures of clinical trials. Cell Chem Biol 23 (2016) 1294–1301. ${TDC}`,
  },
};

export function isDatasetName(value: unknown): value is DatasetName {
  return typeof value === 'string' && Object.hasOwn(DATASETS, value);
}
