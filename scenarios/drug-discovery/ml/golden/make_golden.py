"""Records what scikit-learn gives, for the tests of the learners next door.

    python make_golden.py synthetic               writes synthetic.json and metrics.json
    python make_golden.py real-data DATA_FOLDER   writes real-data.json (needs rdkit and pandas)

The synthetic inputs are not stored: inputs.ts derives the same numbers from the same generator (sfc32, see random.ts).
Of the real data only figures are recorded.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import sklearn
from sklearn import metrics
from sklearn.calibration import _sigmoid_calibration
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

HERE = Path(__file__).parent
MASK = 0xFFFFFFFF


class Random:
    """sfc32, seeded as in random.ts."""

    def __init__(self, seed, stream=0):
        self.a, self.b, self.c, self.counter = seed & MASK, (seed >> 32) & MASK, stream & MASK, 1
        for _ in range(15):
            self.uint32()

    def uint32(self):
        result = (self.a + self.b + self.counter) & MASK
        self.counter = (self.counter + 1) & MASK
        self.a = self.b ^ (self.b >> 9)
        self.b = (self.c + (self.c << 3)) & MASK
        self.c = (((self.c << 21) | (self.c >> 11)) + result) & MASK
        return result

    def unit(self):
        return self.uint32() / 2**32


def dense_input(seed, rows):
    """Six columns of very different scale; the label needs an interaction and is noisy. Keep in step with inputs.ts."""
    random = Random(seed)
    scale = [300.0, 6.0, 1.0, 120.0, 0.01, 40.0]
    offset = [150.0, -1.0, 0.0, 20.0, 5.0, 10.0]
    x, y = [], []
    for _ in range(rows):
        u = [random.unit() for _ in range(6)]
        noise = random.unit() + random.unit() - 1
        score = u[0] - 0.8 * u[1] + 2 * (u[2] - 0.5) * (u[3] - 0.5) + 0.4 * u[4] - 0.3 + 0.7 * noise
        x.append([u[c] * scale[c] + offset[c] for c in range(6)])
        y.append(1 if score > 0 else 0)
    return np.array(x), np.array(y)


def bit_input(seed, rows):
    """96 columns from rare to common, as fingerprints have. Keep in step with inputs.ts."""
    random = Random(seed)
    x, y = [], []
    for _ in range(rows):
        b = [1 if random.unit() < 0.02 + 0.58 * (c / 95) * (c / 95) else 0 for c in range(96)]
        noise = random.unit() + random.unit() - 1
        score = b[90] - b[80] + 1.5 * b[70] * b[85] - b[95] * b[75] + 0.8 * b[60] - 0.5 * b[93] + 1.2 * noise
        x.append(b)
        y.append(1 if score > 0 else 0)
    return np.array(x, dtype=float), np.array(y)


ROWS, TRAIN = 600, 400
SEED = {"dense": 11, "bits": 12}


def input_of(kind):
    return dense_input(SEED[kind], ROWS) if kind == "dense" else bit_input(SEED[kind], ROWS)


def rounded(values, digits=9):
    return [float(f"{v:.{digits}g}") for v in np.asarray(values, dtype=float).ravel()]


def logistic(x, y):
    """The penalised optimum: newton-cholesky on standardised columns is not the same problem, so on the raw ones."""
    cases = {}
    for c in (1.0, 0.05, 20.0):
        model = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-12, max_iter=10000).fit(x[:TRAIN], y[:TRAIN])
        cases[str(c)] = {
            "coefficients": rounded(model.coef_),
            "intercept": float(model.intercept_[0]),
            "probability": rounded(model.predict_proba(x[TRAIN:])[:, 1]),
        }
    return cases


def machine(x, y):
    cases = []
    for c, gamma in ((1.0, "scale"), (10.0, "scale"), (1.0, "auto"), (3.0, 0.02)):
        model = SVC(C=c, gamma=gamma, tol=1e-6).fit(x[:TRAIN], y[:TRAIN])
        loose = SVC(C=c, gamma=gamma).fit(x[:TRAIN], y[:TRAIN])
        probable = SVC(C=c, gamma=gamma, probability=True, random_state=1).fit(x[:TRAIN], y[:TRAIN])
        decision = model.decision_function(x[TRAIN:])
        cases.append(
            {
                "c": c,
                "gamma": gamma,
                "resolvedGamma": float(model._gamma),
                "support": int(model.n_support_.sum()),
                "bias": float(model.intercept_[0]),
                "decision": rounded(decision),
                "defaultTolDecision": rounded(loose.decision_function(x[TRAIN:]), 5),
                "probability": rounded(probable.predict_proba(x[TRAIN:])[:, 1], 4),
                "aucRoc": float(metrics.roc_auc_score(y[TRAIN:], decision)),
            }
        )
    return cases


def boosting(x, y):
    cases = []
    for given in (
        {},
        {"min_samples_leaf": 15},
        {"n_estimators": 40, "max_depth": 5, "min_samples_leaf": 20},
        {"n_estimators": 60, "max_depth": 2, "learning_rate": 0.3, "min_samples_split": 30},
    ):
        probability = []
        # Where columns tie, the random state decides: a difference shows that the case cannot be compared exactly.
        for state in range(4):
            model = GradientBoostingClassifier(random_state=state, **given).fit(x[:TRAIN], y[:TRAIN])
            probability.append(model.predict_proba(x[TRAIN:])[:, 1])
        unique = all(np.abs(p - probability[0]).max() < 1e-9 for p in probability)
        cases.append(
            {
                "parameters": given,
                "unique": unique,
                **({"probability": rounded(probability[0])} if unique else {}),
                "aucRoc": [float(metrics.roc_auc_score(y[TRAIN:], p)) for p in probability],
            }
        )
    sampled = [
        GradientBoostingClassifier(random_state=state, subsample=0.5).fit(x[:TRAIN], y[:TRAIN]).predict_proba(x[TRAIN:])[:, 1]
        for state in range(10)
    ]
    cases.append(
        {
            "parameters": {"subsample": 0.5},
            "unique": False,
            "aucRoc": [float(metrics.roc_auc_score(y[TRAIN:], p)) for p in sampled],
        }
    )
    return cases


def forest(x, y):
    cases = []
    for given in (
        {},
        {"max_depth": 5},
        {"min_samples_leaf": 5},
        {"max_features": 0.5, "bootstrap": False, "min_samples_split": 20},
        {"max_features": "log2", "n_estimators": 30},
    ):
        auc, nodes = [], []
        for state in range(10):
            model = RandomForestClassifier(**{"n_estimators": 100, **given}, random_state=state).fit(x[:TRAIN], y[:TRAIN])
            auc.append(float(metrics.roc_auc_score(y[TRAIN:], model.predict_proba(x[TRAIN:])[:, 1])))
            nodes.append(float(np.mean([tree.tree_.node_count for tree in model.estimators_])))
        cases.append({"parameters": given, "aucRoc": float(np.mean(auc)), "nodes": float(np.mean(nodes))})
    return cases


def sigmoid():
    random = Random(5)
    decision, y = [], []
    for _ in range(200):
        d = 4 * random.unit() - 2
        decision.append(d)
        y.append(1 if d + 2 * (random.unit() + random.unit() - 1) > 0.3 else 0)
    slope, offset = _sigmoid_calibration(np.array(decision), np.array(y))
    return {"slope": float(slope), "offset": float(offset)}


def scored(y, probability, predicted):
    one_class = len(set(y)) == 1
    return {
        "y": y,
        "probability": probability,
        "predicted": predicted,
        "expected": {
            "accuracy": float(metrics.accuracy_score(y, predicted)),
            "balancedAccuracy": float(metrics.balanced_accuracy_score(y, predicted)),
            "precision": float(metrics.precision_score(y, predicted, zero_division=0)),
            "recall": float(metrics.recall_score(y, predicted, zero_division=0)),
            "f1": float(metrics.f1_score(y, predicted, zero_division=0)),
            "mcc": float(metrics.matthews_corrcoef(y, predicted)),
            "aucRoc": None if one_class else float(metrics.roc_auc_score(y, probability)),
            "averagePrecision": None if one_class else float(metrics.average_precision_score(y, probability)),
        },
    }


def metric_cases():
    random = Random(77)
    cases = []
    for rows, levels, share in ((40, 1000, 0.5), (60, 5, 0.3), (80, 2, 0.7), (25, 10, 0.1), (50, 1, 0.5), (70, 20, 0.9)):
        y = [1 if random.unit() < share else 0 for _ in range(rows)]
        probability = [round(min(levels, int(random.unit() * (levels + 1))) / levels, 6) for _ in range(rows)]
        cases.append(scored(y, probability, [1 if p > 0.5 else 0 for p in probability]))
        # Classes that contradict the probabilities, as an SVM's may.
        cases.append(scored(y, probability, [1 if random.unit() < 0.5 else 0 for _ in range(rows)]))
    for y in ([0, 0, 0], [1, 1, 1], [0, 1], [1, 0, 1, 0]):
        for predicted in ([0] * len(y), [1] * len(y), [i % 2 for i in range(len(y))]):
            cases.append(scored(y, [0.25 + 0.5 * p for p in predicted], predicted))
    return cases


def write(name, content):
    path = HERE / name
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n")
    print(path.name, path.stat().st_size, "bytes")


def synthetic():
    content = {"madeWith": {"scikit-learn": sklearn.__version__, "numpy": np.__version__}, "sigmoid": sigmoid()}
    for kind in ("dense", "bits"):
        x, y = input_of(kind)
        content[kind] = {
            # Tells a wrong derivation of the input apart from a wrong learner.
            "checksum": {"sum": float(x.sum()), "positives": int(y.sum())},
            "logistic_regression": logistic(x, y),
            "svm": machine(x, y),
            "gradient_boosting": boosting(x, y),
            "random_forest": forest(x, y),
        }
    write("synthetic.json", content)
    write("metrics.json", {"madeWith": content["madeWith"], "cases": metric_cases()})


def featurise(path):
    import pandas as pd
    from rdkit import Chem, RDLogger
    from rdkit.Chem import Crippen, Descriptors, MACCSkeys, rdFingerprintGenerator
    from rdkit.Chem import rdMolDescriptors as d

    RDLogger.DisableLog("rdApp.*")
    table = pd.read_csv(path, sep="\t")
    parsed = [(Chem.MolFromSmiles(s), int(float(label))) for s, label in zip(table["Drug"], table["Y"])]
    molecules = [m for m, _ in parsed if m is not None]
    y = np.array([label for m, label in parsed if m is not None])
    morgan = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    features = {
        "morgan": np.array([morgan.GetFingerprintAsNumPy(m) for m in molecules], dtype=float),
        "maccs": np.array([list(MACCSkeys.GenMACCSKeys(m)) for m in molecules], dtype=float),
        "descriptors": np.array(
            [
                [
                    Descriptors.MolWt(m),
                    Crippen.MolLogP(m),
                    d.CalcNumHBD(m),
                    d.CalcNumHBA(m),
                    d.CalcTPSA(m),
                    d.CalcNumRotatableBonds(m),
                    d.CalcNumAromaticRings(m),
                    m.GetNumHeavyAtoms(),
                    d.CalcFractionCSP3(m),
                ]
                for m in molecules
            ]
        ),
    }
    return features, y, len(parsed) - len(molecules)


def models(dataset):
    # Six SVM fits on AMES take a minute; the decision function ranks as the probability does where Platt's slope is
    # negative, as it is there.
    return {
        "random_forest": lambda seed: RandomForestClassifier(100, random_state=seed),
        "gradient_boosting": lambda seed: GradientBoostingClassifier(random_state=seed),
        "logistic_regression": lambda seed: LogisticRegression(max_iter=1000),
        "svm": lambda seed: SVC(probability=dataset != "AMES", random_state=seed),
    }


def real_data(folder):
    import rdkit
    from sklearn.model_selection import train_test_split

    seeds = 5
    files = {"hERG": "herg", "AMES": "ames", "BBBP": "bbb_martins", "ClinTox": "clintox"}
    content = {
        "madeWith": {"scikit-learn": sklearn.__version__, "rdkit": rdkit.__version__, "numpy": np.__version__},
        "split": "random, stratified by label, 70 % train, 10 % valid (not used), 20 % test; one split per seed",
        "seeds": seeds,
        "datasets": {},
        "testAucRoc": [],
    }
    for dataset, file in files.items():
        features, y, dropped = featurise(Path(folder) / f"{file}.tab")
        content["datasets"][dataset] = {"rows": len(y), "positives": int(y.sum()), "dropped": dropped}
        for name, x in features.items():
            for model, build in models(dataset).items():
                auc, accuracy, started = [], [], time.time()
                for seed in range(seeds):
                    train, rest = train_test_split(np.arange(len(y)), train_size=0.7, stratify=y, random_state=seed)
                    _, test = train_test_split(rest, train_size=1 / 3, stratify=y[rest], random_state=seed)
                    fitted = build(seed).fit(x[train], y[train])
                    score = (
                        fitted.decision_function(x[test])
                        if model == "svm" and dataset == "AMES"
                        else fitted.predict_proba(x[test])[:, 1]
                    )
                    auc.append(metrics.roc_auc_score(y[test], score))
                    accuracy.append(metrics.accuracy_score(y[test], fitted.predict(x[test])))
                content["testAucRoc"].append(
                    {
                        "dataset": dataset,
                        "features": name,
                        "model": model,
                        "mean": round(float(np.mean(auc)), 4),
                        "sd": round(float(np.std(auc, ddof=1)), 4),
                        "accuracy": round(float(np.mean(accuracy)), 4),
                    }
                )
                print(content["testAucRoc"][-1], f"{time.time() - started:.0f} s", flush=True)
    write("real-data.json", content)


if __name__ == "__main__":
    # scikit-learn warns of what is wanted here: degenerate metrics, L-BFGS stopping early, the old Platt option.
    warnings.filterwarnings("ignore")
    if sys.argv[1:2] == ["synthetic"]:
        synthetic()
    elif sys.argv[1:2] == ["real-data"] and len(sys.argv) == 3:
        real_data(sys.argv[2])
    else:
        sys.exit(__doc__)
