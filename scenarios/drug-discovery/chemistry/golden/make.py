"""Writes molecules.json next to this file: what Python's RDKit says of textbook molecules.

Run with any Python that has RDKit of the same release as the npm package: python make.py
"""

import json
import pathlib

import rdkit
from rdkit import Chem
from rdkit.Chem import Descriptors, MACCSkeys, rdFingerprintGenerator
from rdkit.Chem.Scaffolds import MurckoScaffold

MOLECULES = {
    "methane": "C",
    "ethanol": "CCO",
    "water": "O",
    "sodium chloride": "[Na+].[Cl-]",
    "benzene": "c1ccccc1",
    "toluene": "Cc1ccccc1",
    "cyclohexane": "C1CCCCC1",
    "pyrrole": "c1cc[nH]c1",
    "pyridine N-oxide": "[O-][n+]1ccccc1",
    "naphthalene": "c1ccc2ccccc2c1",
    "biphenyl": "c1ccc(-c2ccccc2)cc1",
    "spiro[4.5]decane": "C1CCC2(C1)CCCCC2",
    "norbornane": "C1CC2CCC1C2",
    "adamantane": "C1C2CC3CC1CC(C2)C3",
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "paracetamol": "CC(=O)Nc1ccc(O)cc1",
    "ibuprofen": "CC(C)Cc1ccc(C(C)C(=O)O)cc1",
    "caffeine": "Cn1c(=O)c2c(ncn2C)n(C)c1=O",
    "theophylline": "Cn1c(=O)c2[nH]cnc2n(C)c1=O",
    "nicotine": "CN1CCC[C@H]1c1cccnc1",
    "cocaine": "COC(=O)[C@H]1[C@@H](OC(=O)c2ccccc2)C[C@@H]2CC[C@H]1N2C",
    "morphine": "CN1CC[C@]23c4c5ccc(O)c4O[C@H]2[C@@H](O)C=C[C@H]3[C@H]1C5",
    "codeine": "COc1ccc2c3c1O[C@H]1[C@@H](O)C=C[C@H]4[C@@H](C2)N(C)CC[C@]314",
    "diazepam": "CN1C(=O)CN=C(c2ccccc2)c2cc(Cl)ccc21",
    "haloperidol": "O=C(CCCN1CCC(O)(c2ccc(Cl)cc2)CC1)c1ccc(F)cc1",
    "chlorpromazine": "CN(C)CCCN1c2ccccc2Sc2ccc(Cl)cc21",
    "imipramine": "CN(C)CCCN1c2ccccc2CCc2ccccc21",
    "fluoxetine": "CNCCC(Oc1ccc(C(F)(F)F)cc1)c1ccccc1",
    "sertraline": "CN[C@H]1CC[C@@H](c2ccc(Cl)c(Cl)c2)c2ccccc21",
    "citalopram": "CN(C)CCCC1(c2ccc(F)cc2)OCc2cc(C#N)ccc21",
    "astemizole": "COc1ccc(CCN2CCC(Nc3nc4ccccc4n3Cc3ccc(F)cc3)CC2)cc1",
    "terfenadine": "CC(C)(C)c1ccc(C(O)CCCN2CCC(C(O)(c3ccccc3)c3ccccc3)CC2)cc1",
    "cisapride": "COc1cc(N)c(Cl)cc1C(=O)NC1CCN(CCCOc2ccc(F)cc2)CC1OC",
    "dofetilide": "CN(CCOc1ccc(NS(C)(=O)=O)cc1)CCc1ccc(NS(C)(=O)=O)cc1",
    "verapamil": "COc1ccc(CCN(C)CCCC(C#N)(C(C)C)c2ccc(OC)c(OC)c2)cc1OC",
    "propranolol": "CC(C)NCC(O)COc1cccc2ccccc12",
    "atenolol": "CC(C)NCC(O)COc1ccc(CC(N)=O)cc1",
    "warfarin": "CC(=O)CC(c1ccccc1)c1c(O)c2ccccc2oc1=O",
    "phenytoin": "O=C1NC(=O)C(c2ccccc2)(c2ccccc2)N1",
    "phenobarbital": "CCC1(c2ccccc2)C(=O)NC(=O)NC1=O",
    "carbamazepine": "NC(=O)N1c2ccccc2C=Cc2ccccc21",
    "sulfamethoxazole": "Cc1cc(NS(=O)(=O)c2ccc(N)cc2)no1",
    "trimethoprim": "COc1cc(Cc2cnc(N)nc2N)cc(OC)c1OC",
    "ciprofloxacin": "O=C(O)c1cn(C2CC2)c2cc(N3CCNCC3)c(F)cc2c1=O",
    "penicillin G": "CC1(C)S[C@@H]2[C@H](NC(=O)Cc3ccccc3)C(=O)N2[C@H]1C(=O)O",
    "metronidazole": "Cc1ncc([N+](=O)[O-])n1CCO",
    "nitrofurantoin": "O=C1CN(N=Cc2ccc([N+](=O)[O-])o2)C(=O)N1",
    "methotrexate": "CN(Cc1cnc2nc(N)nc(N)c2n1)c1ccc(C(=O)N[C@@H](CCC(=O)O)C(=O)O)cc1",
    "fluorouracil": "O=c1[nH]cc(F)c(=O)[nH]1",
    "cyclophosphamide": "O=P1(N(CCCl)CCCl)NCCCO1",
    "chlorambucil": "O=C(O)CCCc1ccc(N(CCCl)CCCl)cc1",
    "thalidomide": "O=C1CCC(N2C(=O)c3ccccc3C2=O)C(=O)N1",
    "imatinib": "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(-c2cccnc2)n1",
    "sildenafil": "CCCc1nn(C)c2c(=O)[nH]c(-c3cc(S(=O)(=O)N4CCN(C)CC4)ccc3OCC)nc12",
    "atorvastatin": "CC(C)c1c(C(=O)Nc2ccccc2)c(-c2ccccc2)c(-c2ccc(F)cc2)n1CC[C@@H](O)C[C@@H](O)CC(=O)O",
    "testosterone": "C[C@]12CCC(=O)C=C1CC[C@@H]1[C@@H]2CC[C@]2(C)[C@@H](O)CC[C@@H]12",
    "cholesterol": "CC(C)CCC[C@@H](C)[C@H]1CC[C@H]2[C@@H]3CC=C4C[C@@H](O)CC[C@]4(C)[C@H]3CC[C@]12C",
    "glucose": "OC[C@H]1OC(O)[C@H](O)[C@@H](O)[C@@H]1O",
    "adenosine": "Nc1ncnc2c1ncn2[C@@H]1O[C@H](CO)[C@@H](O)[C@H]1O",
    "benzo[a]pyrene": "c1ccc2c(c1)cc1ccc3cccc4ccc2c1c34",
    "2-acetylaminofluorene": "CC(=O)Nc1ccc2c(c1)Cc1ccccc1-2",
    "4-nitroquinoline N-oxide": "O=[N+]([O-])c1cc[n+]([O-])c2ccccc12",
    "N-methyl-N-nitrosourea": "CN(N=O)C(N)=O",
    "styrene oxide": "c1ccc(C2CO2)cc1",
    "sodium azide": "[N-]=[N+]=[N-].[Na+]",
    "ethylenediamine with platinum chloride": "NCCN.Cl[Pt]Cl",
    "methylene blue": "CN(C)c1ccc2nc3ccc(=[N+](C)C)cc-3sc2c1.[Cl-]",
    "acridine orange": "CN(C)c1ccc2cc3ccc(N(C)C)cc3nc2c1",
    "dummy atom": "*c1ccccc1C(=O)O",
    "deuterated chloroform": "[2H]C(Cl)(Cl)Cl",
    "retinol": "CC1=C(/C=C/C(C)=C/C=C/C(C)=C/CO)C(C)(C)CCC1",
}


def main() -> None:
    morgan = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    rows = []
    for name, smiles in MOLECULES.items():
        mol = Chem.MolFromSmiles(smiles)
        rows.append(
            {
                "name": name,
                "smiles": smiles,
                "morgan": list(morgan.GetFingerprint(mol).GetOnBits()),
                "maccs": list(MACCSkeys.GenMACCSKeys(mol).GetOnBits()),
                "descriptors": [
                    Descriptors.MolWt(mol),
                    Descriptors.MolLogP(mol),
                    Descriptors.NumHDonors(mol),
                    Descriptors.NumHAcceptors(mol),
                    Descriptors.TPSA(mol),
                    Descriptors.NumRotatableBonds(mol),
                    Descriptors.NumAromaticRings(mol),
                    mol.GetNumHeavyAtoms(),
                    Descriptors.FractionCSP3(mol),
                ],
                "scaffold": MurckoScaffold.MurckoScaffoldSmiles(mol=mol),
            }
        )
    text = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    target = pathlib.Path(__file__).with_name("molecules.json")
    target.write_text(f'{{"rdkit":"{rdkit.__version__}","molecules":[\n{text}\n]}}\n')


if __name__ == "__main__":
    main()
