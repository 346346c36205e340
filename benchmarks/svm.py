"""Times the cost-sensitive SVM against its peers in one run: python benchmarks/svm.py [--no-cvxpy].

Gaussian mixtures, hard margin, free intercept, from the feature matrix on (the Gram matrix is part of our time). The
peers: scikit-learn's SVC with kernel="linear", C=1e9, tol=1e-6 (libsvm), and cvxpy's primal with Clarabel at its default
tolerances, compilation included. Each time is the least of several repetitions. The relative gap is that of the best
primal and dual points each answer gives, computed here from the features alike for all: w as returned, scaled to the
required margins with the best intercept; the dual coefficients scaled to their best multiple. The Clarabel answer has
its duals from the constraints.
"""

import os
import sys
import time

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")  # set before numpy starts: SVC uses one thread as well

import cvxpy as cp
import numpy as np
from sklearn.svm import SVC
from tailbound.theory.vs_loss.svm import margin_ratio_path, solve_svm

SIZES = ((200, 400, 0.1), (600, 1000, 0.15), (1000, 1500, 0.2))
SIGNAL = 2.0
RATIOS = np.geomspace(0.05, 50, 50)


def mixture(num_examples: int, dimension: int, prior: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(num_examples)
    labels = np.where(rng.random(num_examples) < prior, 1.0, -1.0)
    features = rng.standard_normal((num_examples, dimension))
    features[:, 0] += SIGNAL * labels
    return features, labels


def least(run, repetitions: int) -> tuple[float, object]:
    """Least wall time in seconds, and the last answer."""
    best, answer = np.inf, None
    for _ in range(repetitions):
        start = time.perf_counter()
        answer = run()
        best = min(best, time.perf_counter() - start)
    return best, answer


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
        data = mixture(n, d, prior)
        features, labels = data
        seconds, machine = least(lambda data=data: ours(*data), 30 if n < 500 else 10)
        path_seconds, _ = least(lambda data=data: margin_ratio_path(ours(*data), RATIOS), 30 if n < 500 else 10)
        gap = relative_gap(features, labels, machine.coefficients @ features, machine.dual)
        name = f"n = {n}, d = {d}, prior {prior}"
        print(f"{name:32s} ours     {seconds * 1e3:9.2f} ms            gap {gap:8.1e}")
        print(f"{'':32s} 50 ratios{path_seconds * 1e3:9.2f} ms  {path_seconds / seconds:6.2f} x one solve")
        taken, peer = least(lambda data=data: libsvm(*data), 10 if n < 500 else 4)
        dual = np.zeros(n)
        dual[peer.support_] = np.abs(peer.dual_coef_[0])
        gap = relative_gap(features, labels, peer.coef_[0], dual)
        print(f"{'':32s} SVC      {taken * 1e3:9.2f} ms  {taken / seconds:6.1f} x ours  gap {gap:8.1e}")
        if "--no-cvxpy" not in sys.argv:
            taken, (w, dual) = least(lambda data=data: conic(*data), 2 if n < 500 else 1)
            gap = relative_gap(features, labels, w, dual)
            print(f"{'':32s} Clarabel {taken * 1e3:9.2f} ms  {taken / seconds:6.1f} x ours  gap {gap:8.1e}", flush=True)


if __name__ == "__main__":
    main()
