"""
One experiment with scikit-learn: the same parts, features, models and measures as worker.ts. With `featurize: worker` it
computes the features itself, with RDKit, from the molecules; else it reads those that were prepared.
"""

import copy
import ctypes
import hashlib
import json
import math
import os
import struct
import time

import numpy as np
from scipy import sparse
from sklearn import metrics
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from sklearn.calibration import _sigmoid_calibration
from sklearn.model_selection import StratifiedKFold

MAGIC = b"CLVFEAT\x01"
HEADER_AT = 48
# Below this share of ones a list of them is less work than all columns.
SPARSE_BELOW = 0.1
# Of malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
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


settled = False


def settle():
    """A trial has one core and a process of its own."""
    global settled
    if settled:
        return
    settled = True
    keep_memory()
    # More threads would only get in each other's way. Libraries that were told so when they were loaded need not be looked for,
    # which takes 10 ms in every new process.
    if any(os.environ.get(name) != "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")):
        from threadpoolctl import threadpool_limits

        threadpool_limits(limits=1)


def keep_memory():
    """What one fit gives back the next asks for again: from the system it would come page by page, each to be cleared."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_TRIM_THRESHOLD, 2**30)
        library.mallopt(M_MMAP_THRESHOLD, 2**25)


def warm_up():
    """Once in a template: each model on a few rows, so that what is loaded or made on first use is there."""
    settle()
    luck = np.random.default_rng(1)
    y = np.arange(60) % 2
    bits = (luck.random((60, 64)) < 0.3 + 0.2 * y[:, None]).astype(np.uint8)
    bits[:, 8:] &= luck.random((60, 56)) < 0.1
    for x in (bits, luck.random((60, 9)) + y[:, None] * 0.2):
        for name in ("random_forest", "gradient_boosting", "logistic_regression", "svm"):
            model = create(name, {"nEstimators": 5} if name in ("random_forest", "gradient_boosting") else {}, 1)
            model.fit(x, y)
            score(*predict_each(model, {"all": x})["all"], y)


def run(trial, attempt, log):
    settle()
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
    rows = {name: x[part] for name, part in parts.items()}
    model.fit(rows["train"], y[parts["train"]])
    fit_ms = (time.monotonic() - started) * 1000
    log(
        f"{trial['id']}: {params['model']} on {params['dataset']}/{params['features']}, "
        f"{len(parts['train'])} of {len(y)} rows, fitted in {round(fit_ms)} ms by scikit-learn"
    )
    return {
        "metrics": {name: score(*found, y[parts[name]]) for name, found in predict_each(model, rows).items()},
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
        x = np.ascontiguousarray(bits[:, :columns])
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
    return x


def is_bits(x):
    return x.dtype == np.uint8


def compact(x, below=SPARSE_BELOW):
    """Bits that are mostly zero as what is one of them: the same numbers to every learner, and much less to look at."""
    return sparse.csr_matrix(x, dtype=np.float32) if is_bits(x) and x.mean() < below else x


class Forest:
    """The same trees whether its rows are dense, with a column's values one after the other in memory, or a list of ones."""

    sparse_below = SPARSE_BELOW

    def __init__(self, trees):
        self.trees = trees

    def fit(self, x, y):
        rows = compact(x, self.sparse_below)
        self.trees.fit(rows.tocsc() if sparse.issparse(rows) else np.asfortranarray(rows, dtype=np.float32), y)

    def predict_proba(self, x):
        rows = compact(x)
        return self.trees.predict_proba(rows if sparse.issparse(rows) else rows.astype(np.float32))[:, 1]


class Boosting(Forest):
    """Every tree looks at every column: a list of the ones is never more work."""

    sparse_below = 1


class Line:
    def __init__(self, given):
        self.given = given

    def fit(self, x, y):
        rows = compact(x)
        # On a few unscaled columns the usual solver does not come to an end; the first of these does, at the same optimum. The second
        # never makes the square matrix of all columns.
        solver = "newton-cg" if sparse.issparse(rows) else "newton-cholesky"
        self.line = LogisticRegression(**self.given, solver=solver, tol=1e-8).fit(rows, y)

    def predict_proba(self, x):
        return self.line.predict_proba(compact(x))[:, 1]


class MachineWithProbabilities:
    """RBF support vectors, with probabilities by Platt's sigmoid over five folds; classes are those of the sign."""

    def __init__(self, seed, C=1.0, gamma="scale", tol=1e-3):  # noqa: N803
        """Parameters as scikit-learn names them, and no others."""
        if not (gamma in ("scale", "auto") or isinstance(gamma, (int, float)) and 0 < gamma < math.inf):
            raise ValueError(f"gamma must be scale, auto or a positive number, not {gamma!r}")
        self.given = {"C": C, "tol": tol}
        self.gamma = gamma
        self.seed = seed

    def fit(self, x, y):
        # All six fits share the kernels; how wide they are is decided in each.
        kernels = Kernels(x)
        decision = np.zeros(len(y))
        folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=self.seed)
        for train, held in folds.split(x, y):
            decision[held] = self.machine_of(x, y, kernels, train).decide_known(kernels, held)
        everything = np.arange(len(y))
        self.machine = self.machine_of(x, y, kernels, everything)
        # It will be asked for once more, and their distances are known now.
        self.own = x, self.machine.decide_known(kernels, everything)
        self.slope, self.offset = _sigmoid_calibration(decision, y)

    def machine_of(self, x, y, kernels, which):
        return Machine(self.given, width(self.gamma, x[which]), kernels, which, y)

    def predict(self, x):
        rows, known = self.own
        decision = known if x is rows else self.machine.decide(x)
        return decision > 0, 1 / (1 + np.exp(self.slope * decision + self.offset))


def width(gamma, x):
    """The number that scikit-learn takes for `scale` and `auto`, on these rows."""
    if gamma == "auto":
        return 1 / x.shape[1]
    if gamma == "scale":
        # Of bits without a copy of all of them in double precision.
        share = x.mean()
        variance = share * (1 - share) if is_bits(x) else x.var()
        return 1 / (x.shape[1] * variance) if variance > 0 else 1.0
    return float(gamma)


class Kernels:
    """Of these rows. Distances of bits are kept; few numbers are sooner gone through again than fetched."""

    def __init__(self, x):
        self.rows = Rows(x, common_columns(x) if is_bits(x) else None)
        # One place for the products and all kernels, one after the other: to have new memory each time takes longer than to fill it.
        self.place = np.empty(len(x) ** 2)
        self.distances = self.all_distances() if is_bits(x) else None

    def all_distances(self):
        count = len(self.rows.dense)
        products = self.place.view(np.float32)[: count**2].reshape(count, count)
        np.matmul(self.rows.dense, self.rows.dense.T, out=products)
        distances = np.empty(products.shape, dtype=np.min_scalar_type(self.rows.columns))
        for block in blocks(count):
            distances[block] = self.rows.part(block).distances_of(products[block], self.rows)
        return distances

    def kernel(self, which, gamma):
        kernel = self.place[: len(which) ** 2].reshape(len(which), len(which))
        for block in blocks(len(which)):
            kernel[block] = gaussian(self.between(which[block], which), gamma)
        return kernel

    def between(self, some, others):
        if self.distances is None:
            return self.rows.part(some).squared_distances(self.rows.part(others))
        # In one step (`np.ix_`) every value would be looked up by two numbers.
        return self.distances[some].take(others, axis=1)


ROWS_AT_ONCE = 64
# A product of matrices goes through all of the other for each block.
ROWS_OF_PRODUCTS = 512
CACHE_MIB = 40
COMMON_FROM = 0.02


def blocks(count, size=ROWS_AT_ONCE):
    """Few enough rows to stay near the processor."""
    return [slice(first, first + size) for first in range(0, count, size)]


def common_columns(x):
    """The others have ones so seldom that they are quicker counted by lists of them than multiplied."""
    return x.mean(axis=0) >= COMMON_FROM


class Rows:
    """Rows and their squared lengths, of bits in single precision, which holds them exactly."""

    def __init__(self, x, common=None):
        self.columns = x.shape[1]
        self.common = common
        self.dense = x if common is None else x[:, common].astype(np.float32)
        self.rare = None if common is None else sparse.csr_matrix(x[:, ~common], dtype=np.float32)
        self.squares = np.einsum("ij,ij->i", x, x, dtype=self.dense.dtype)

    def part(self, which):
        part = copy.copy(self)
        part.dense, part.squares = self.dense[which], self.squares[which]
        part.rare = None if self.rare is None else self.rare[which]
        return part

    def squared_distances(self, others):
        return self.distances_of(self.dense @ others.dense.T, others)

    def distances_of(self, products, others):
        """In their place."""
        if self.rare is not None:
            products += (self.rare @ others.rare.T).toarray()
        products *= -2
        products += self.squares[:, None]
        products += others.squares[None, :]
        # Less than nothing is what rounding makes of two rows that are the same.
        return np.maximum(products, 0, out=products)


def gaussian(distances, gamma):
    """Of whole numbers in single precision, in which the library keeps its kernel in the end."""
    exact = np.float64 if distances.dtype == np.float64 else np.float32
    kernel = np.multiply(distances, exact(-gamma), dtype=exact)
    return np.exp(kernel, out=kernel)


class Machine:
    """One fit to some of the rows, with the kernel made at once: the library would make it value by value, again in each fit."""

    def __init__(self, given, gamma, kernels, which, y):
        self.gamma = gamma
        # With the whole kernel at hand it is more work to shrink the problem than to solve it, and to keep every row of it once more.
        self.machine = SVC(**given, kernel="precomputed", shrinking=False, cache_size=CACHE_MIB)
        self.machine.fit(kernels.kernel(which, gamma), y[which])
        self.support = which[self.machine.support_]
        self.rows = kernels.rows.part(self.support)

    def decide(self, x):
        rows = Rows(x, self.rows.common)
        size = ROWS_AT_ONCE if self.rows.common is None else ROWS_OF_PRODUCTS
        return self.decide_blocks(blocks(len(x), size), lambda block: rows.part(block).squared_distances(self.rows))

    def decide_known(self, kernels, which):
        return self.decide_blocks(blocks(len(which)), lambda block: kernels.between(which[block], self.support))

    def decide_blocks(self, parts, distances):
        kernels = (gaussian(distances(block), self.gamma) for block in parts)
        found = [kernel.astype(np.float64, copy=False) @ self.machine.dual_coef_[0] for kernel in kernels]
        return np.concatenate(found) + self.machine.intercept_[0]


def create(name, given, seed):
    parameters = {RENAMED.get(key, key): value for key, value in given.items()}
    state = seed % 2**32
    if name == "random_forest":
        given = {"n_estimators": 100, **parameters}
        return Forest(RandomForestClassifier(**given, random_state=state, n_jobs=1))
    if name == "gradient_boosting":
        return Boosting(GradientBoostingClassifier(**parameters, random_state=state))
    if name == "logistic_regression":
        return Line({"max_iter": 1000, **parameters})
    if name == "svm":
        return MachineWithProbabilities(state, **parameters)
    raise ValueError(f"there is no model {name}")


def predict_each(model, parts):
    """Classes and probabilities of the rows of each part; a model is asked once, for what it does besides is most of the work."""
    if isinstance(model, MachineWithProbabilities):
        return {name: model.predict(x) for name, x in parts.items()}
    found = model.predict_proba(np.concatenate(list(parts.values())))
    ends = np.cumsum([len(x) for x in parts.values()])[:-1]
    return {name: (part > 0.5, part) for name, part in zip(parts, np.split(found, ends))}


def score(predicted, probability, y):
    positive = y == 1
    right, wrong = int(np.sum(predicted & positive)), int(np.sum(predicted & ~positive))
    missed, rest = int(np.sum(~predicted & positive)), int(np.sum(~predicted & ~positive))
    ratio = lambda part, whole: part / whole if whole > 0 else 0.0  # noqa: E731
    precision, recall = ratio(right, right + wrong), ratio(right, right + missed)
    recalls = [ratio(part, whole) for part, whole in ((right, right + missed), (rest, rest + wrong)) if whole > 0]
    pairs = (right + wrong) * (right + missed) * (rest + wrong) * (rest + missed)
    one_class = len(recalls) < 2
    return {
        "accuracy": ratio(right + rest, len(y)),
        "balancedAccuracy": sum(recalls) / len(recalls),
        "precision": precision,
        "recall": recall,
        "f1": ratio(2 * right, 2 * right + wrong + missed),
        "mcc": (right * rest - wrong * missed) / math.sqrt(pairs) if pairs > 0 else 0.0,
        "aucRoc": None if one_class else float(metrics.roc_auc_score(y, probability)),
        "averagePrecision": None if one_class else float(metrics.average_precision_score(y, probability)),
    }
