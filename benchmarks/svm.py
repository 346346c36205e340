"""Times the cost-sensitive SVM against its peers in one run: python benchmarks/svm.py [--no-cvxpy].

Gaussian mixtures, hard margin, free intercept, one thread, from the feature matrix on (the Gram matrix is part of our
time). The peers: scikit-learn's SVC(kernel="linear", C=1e9, tol=1e-6), which is libsvm, and cvxpy's primal with
Clarabel at its default tolerances, compilation included. Each time is the least of several repetitions, in turns. The
relative gap is measured here, from the features and alike for all: the primal value of w, scaled to the required
margins with its best intercept, and the dual value of the multipliers, balanced between the classes and scaled to their
best.
"""

import sys
import time

import cvxpy as cp
import numpy as np
from sklearn.svm import SVC
from tailbound.theory.vs_loss.svm import margin_ratio_path, solve_svm
from threadpoolctl import threadpool_limits

SIZES = ((200, 400, 0.1), (200, 400, 0.2), (600, 1000, 0.1), (600, 1000, 0.2), (1000, 1500, 0.1), (1000, 1500, 0.2))
SIGNAL = 2.0
RATIOS = np.geomspace(0.05, 50, 50)


def mixture(num_examples: int, dimension: int, prior: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(num_examples)
    labels = np.where(rng.random(num_examples) < prior, 1.0, -1.0)
    features = rng.standard_normal((num_examples, dimension))
    features[:, 0] += SIGNAL * labels
    return features, labels


def least(runs: dict, repetitions: int) -> dict:
    """Least wall time in seconds of each run, and its last answer; the runs take turns."""
    best = dict.fromkeys(runs, (np.inf, None))
    for _ in range(repetitions):
        for name, run in runs.items():
            start = time.perf_counter()
            answer = run()
            best[name] = (min(best[name][0], time.perf_counter() - start), answer)
    return best


def relative_gap(features, labels, w, dual) -> float:
    """(primal - dual) / primal of the best points on the rays of w and of the dual, the latter balanced first."""
    scores = features @ w
    half = (scores[labels > 0].min() - scores[labels < 0].max()) / 2  # margin with the best intercept
    primal = w @ w / (2 * half**2)
    dual = np.maximum(dual, 0.0)
    dual = dual / np.where(labels > 0, dual[labels > 0].sum(), dual[labels < 0].sum())
    combined = features.T @ (dual * labels)
    return float((primal - dual.sum() ** 2 / (2 * (combined @ combined))) / primal)


def ours(features, labels):
    return solve_svm(features @ features.T, labels)


def libsvm(features, labels):
    return SVC(kernel="linear", C=1e9, tol=1e-6).fit(features, labels)


def conic(features, labels):
    w, b = cp.Variable(features.shape[1]), cp.Variable()
    problem = cp.Problem(cp.Minimize(cp.sum_squares(w) / 2), [cp.multiply(labels, features @ w + b) >= 1])
    problem.solve(solver=cp.CLARABEL)
    return w.value, problem.constraints[0].dual_value


def main() -> None:
    for n, d, prior in SIZES:
        data = features, labels = mixture(n, d, prior)
        runs = {
            "ours": lambda data=data: ours(*data),
            "ours, 50 ratios": lambda data=data: margin_ratio_path(ours(*data), RATIOS),
            "SVC": lambda data=data: libsvm(*data),
        }
        found = least(runs, 40 if n < 500 else 8)
        if "--no-cvxpy" not in sys.argv:
            found |= least({"Clarabel": lambda data=data: conic(*data)}, 2 if n < 500 else 1)
        machine, svc = found["ours"][1], found["SVC"][1]
        points = {"ours": (machine.coefficients @ features, machine.dual), "SVC": (svc.coef_[0], np.zeros(n))}
        points["SVC"][1][svc.support_] = np.abs(svc.dual_coef_[0])
        if "Clarabel" in found:
            points["Clarabel"] = found["Clarabel"][1]
        print(f"n = {n}, d = {d}, prior {prior}: certified gap {machine.certificate.gap:.1e}")
        for name, (taken, _) in found.items():
            gap = f"  gap {relative_gap(features, labels, *points[name]):8.1e}" if name in points else ""
            print(f"  {name:18s} {1e3 * taken:10.2f} ms  {taken / found['ours'][0]:7.2f} x ours{gap}", flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
