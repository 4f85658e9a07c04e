"""
One experiment with scikit-learn: the same parts, features, models and measures as worker.ts. With `featurize: worker` it
computes the features itself, with RDKit, from the molecules; else it reads those that were prepared.
"""

import hashlib
import json
import struct
import time

import numpy as np
from sklearn import metrics
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

MAGIC = b"CLVFEAT\x01"
HEADER_AT = 48
RENAMED = {
    "nEstimators": "n_estimators",
    "maxDepth": "max_depth",
    "minSamplesSplit": "min_samples_split",
    "minSamplesLeaf": "min_samples_leaf",
    "maxFeatures": "max_features",
    "learningRate": "learning_rate",
    "maxIter": "max_iter",
    "c": "C",
}


def run(trial, attempt, log):
    # A trial has one core: more threads only get in each other's way.
    threadpool_limits(1)
    given = trial["input"]
    params = trial["params"]
    x, y = read_features(given["featuresFile"])
    feature_ms = 0.0
    if given.get("moleculesFile"):
        started = time.monotonic()
        x = compute_features(params["features"], read_molecules(given["moleculesFile"]))
        feature_ms = (time.monotonic() - started) * 1000
    with open(given["splitFile"], encoding="utf-8") as file:
        split = json.load(file)
    parts = {name: np.asarray(split[name], dtype=np.int64) for name in ("train", "valid", "test")}
    model = create(params["model"], given["modelParameters"], given["modelSeed"])
    started = time.monotonic()
    model.fit(x[parts["train"]], y[parts["train"]])
    fit_ms = (time.monotonic() - started) * 1000
    log(
        f"{trial['id']}: {params['model']} on {params['dataset']}/{params['features']}, "
        f"{len(parts['train'])} of {len(y)} rows, fitted in {round(fit_ms)} ms by scikit-learn"
    )
    return {
        "metrics": {name: score(model, x[rows], y[rows]) for name, rows in parts.items()},
        "facts": {
            "trainSamples": len(parts["train"]),
            "validSamples": len(parts["valid"]),
            "testSamples": len(parts["test"]),
            "nFeatures": int(x.shape[1]),
            "fitMs": round(fit_ms),
            "featurizeMs": round(feature_ms),
        },
    }


def read_features(path):
    """The prepared file of a data set and feature set, see data/features-file.ts."""
    with open(path, "rb") as file:
        data = file.read()
    if data[: len(MAGIC)] != MAGIC:
        raise ValueError(f"{path}: not a features file")
    content = memoryview(data)[HEADER_AT:]
    if hashlib.sha256(content).digest() != data[16:HEADER_AT]:
        raise ValueError(f"{path}: the checksum does not match")
    (header_bytes,) = struct.unpack_from("<I", data, 8)
    header = json.loads(bytes(content[:header_bytes]))
    rows, columns = header["rows"], header["columns"]
    at = HEADER_AT + header_bytes
    if header["kind"] == "bits":
        stride = (columns + 31) // 32
        words = np.frombuffer(data, dtype="<u4", count=rows * stride, offset=at).reshape(rows, stride)
        bits = np.unpackbits(words.view(np.uint8).reshape(rows, stride * 4), axis=1, bitorder="little")
        x = bits[:, :columns].astype(np.float64)
        at += rows * stride * 4
    else:
        x = np.frombuffer(data, dtype="<f8", count=rows * columns, offset=at).reshape(rows, columns).copy()
        at += rows * columns * 8
    at += rows * 4
    y = np.frombuffer(data, dtype=np.uint8, count=rows, offset=at).astype(np.int64)
    return x, y


def read_molecules(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def compute_features(name, molecules):
    """As chemistry/features.ts defines them, by RDKit's own Python."""
    from rdkit import Chem, DataStructs, RDLogger
    from rdkit.Chem import Crippen, Descriptors, MACCSkeys, rdFingerprintGenerator
    from rdkit.Chem import rdMolDescriptors as d

    RDLogger.DisableLog("rdApp.*")
    parsed = [Chem.MolFromSmiles(smiles) for smiles in molecules]
    if any(molecule is None for molecule in parsed):
        raise ValueError("a molecule that was prepared cannot be parsed")
    if name == "descriptors":
        return np.array(
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
                for m in parsed
            ],
            dtype=np.float64,
        )
    if name == "morgan":
        generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
        fingerprints = [generator.GetFingerprint(m) for m in parsed]
    else:
        fingerprints = [MACCSkeys.GenMACCSKeys(m) for m in parsed]
    x = np.zeros((len(parsed), fingerprints[0].GetNumBits()), dtype=np.uint8)
    for row, fingerprint in enumerate(fingerprints):
        DataStructs.ConvertToNumpyArray(fingerprint, x[row])
    return x.astype(np.float64)


class MachineWithProbabilities:
    """RBF support vectors, with probabilities by Platt's sigmoid over five folds; classes are those of the sign."""

    def __init__(self, **given):
        self.machine = SVC(probability=False, **given)
        self.seed = given.get("random_state")

    def fit(self, x, y):
        from sklearn.calibration import _sigmoid_calibration
        from sklearn.base import clone
        from sklearn.model_selection import StratifiedKFold

        self.machine.fit(x, y)
        decision = np.zeros(len(y))
        folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=self.seed)
        for train, held in folds.split(x, y):
            decision[held] = clone(self.machine).fit(x[train], y[train]).decision_function(x[held])
        self.slope, self.offset = _sigmoid_calibration(decision, y)
        return self

    def predict_proba(self, x):
        positive = 1 / (1 + np.exp(self.slope * self.machine.decision_function(x) + self.offset))
        return np.column_stack([1 - positive, positive])

    def predict(self, x):
        return self.machine.predict(x)


def create(name, given, seed):
    parameters = {RENAMED.get(key, key): value for key, value in given.items()}
    state = seed % 2**32
    if name == "random_forest":
        return RandomForestClassifier(**{"n_estimators": 100, **parameters}, random_state=state, n_jobs=1)
    if name == "gradient_boosting":
        return GradientBoostingClassifier(**parameters, random_state=state)
    if name == "logistic_regression":
        # On a few unscaled columns the usual solver does not come to an end; this one does, at the same optimum.
        return LogisticRegression(**{"max_iter": 1000, **parameters}, solver="newton-cholesky", tol=1e-8)
    if name == "svm":
        return MachineWithProbabilities(**parameters, random_state=state)
    raise ValueError(f"there is no model {name}")


def score(model, x, y):
    predicted = model.predict(x)
    probability = model.predict_proba(x)[:, 1]
    one_class = len(np.unique(y)) < 2
    return {
        "accuracy": float(metrics.accuracy_score(y, predicted)),
        "balancedAccuracy": float(metrics.balanced_accuracy_score(y, predicted)),
        "precision": float(metrics.precision_score(y, predicted, zero_division=0)),
        "recall": float(metrics.recall_score(y, predicted, zero_division=0)),
        "f1": float(metrics.f1_score(y, predicted, zero_division=0)),
        "mcc": float(metrics.matthews_corrcoef(y, predicted)),
        "aucRoc": None if one_class else float(metrics.roc_auc_score(y, probability)),
        "averagePrecision": None if one_class else float(metrics.average_precision_score(y, probability)),
    }
