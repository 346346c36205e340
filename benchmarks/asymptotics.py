"""Times the hard-margin asymptotics: python benchmarks/asymptotics.py. One line a measurement, the best of some runs.

Peers, in the same run: the usual way, scipy's ``fsolve`` on the three equations from zeros with the inverse and the
errors by the same closed forms; and Monte Carlo, hard-margin machines trained on drawn data (n = 200) until the
standard error of the minority's error is a hundredth, solved by the library and by scikit-learn.
"""

import time

import numpy as np
from scipy.optimize import fsolve
from sklearn.svm import SVC
from tailbound.theory.core.gaussian import partial_moments, tail
from tailbound.theory.vs_loss.asymptotics import (
    equal_opportunity_ratio,
    hard_margin,
    hard_margin_map,
    separability_threshold,
)
from tailbound.theory.vs_loss.mixture import GaussianMixture
from tailbound.theory.vs_loss.svm import solve_svm
from threadpoolctl import threadpool_limits

RUNS = 5
PRIOR, STRENGTH, ASPECT_RATIO, RATIO = 0.1, 1.5, 1.0, 2.0
EXAMPLES, WANTED = 200, 0.01
GRID = np.geomspace(1e-3, 0.5, 100), np.geomspace(0.05, 50, 100)[:, None]


def seconds(action, repeats: int = 1) -> float:
    """Best wall time of one call over several runs of `repeats` calls."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        for _ in range(repeats):
            action()
        times.append((time.perf_counter() - start) / repeats)
    return min(times)


def by_fsolve(prior, strength, aspect_ratio, ratio) -> tuple[float, np.ndarray]:
    """u and the errors of both classes, from ρ, b', u by a root finder started at zeros; NaN where it gives up."""
    priors = np.array([prior, 1 - prior])

    def equations(unknown):
        rho, b, u = unknown
        _, first, second = partial_moments(np.array([ratio * u - rho * strength - b, u - rho * strength + b]))
        pulls = priors * first
        return (
            pulls[0] - pulls[1],
            aspect_ratio * rho - strength * pulls.sum(),
            priors @ second - aspect_ratio * (1 - rho**2),
        )

    (rho, b, u), _, status, _ = fsolve(equations, np.zeros(3), full_output=True)
    if status != 1:
        return np.nan, np.full(2, np.nan)
    return u, tail(np.array([rho * strength + b, rho * strength - b]))


def draw(rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    dimension = round(ASPECT_RATIO * EXAMPLES)
    mean = np.zeros(dimension)
    mean[0] = STRENGTH
    labels = np.where(rng.random(EXAMPLES) < PRIOR, 1, -1)
    labels[:2] = 1, -1
    return labels[:, None] * mean + rng.standard_normal((EXAMPLES, dimension)), labels, mean


def minority_error(weights, bias, mean) -> float:
    return float(tail((weights @ mean + bias) / np.linalg.norm(weights)))


def by_library(features, labels, mean) -> float:
    machine = solve_svm(features @ features.T, labels, np.where(labels > 0, RATIO, 1.0))
    return minority_error(machine.coefficients @ features, machine.intercept, mean)


def by_sklearn(features, labels, mean) -> float:
    """The SVM, whose intercept moves to the ratio."""
    machine = SVC(kernel="linear", C=1e9, tol=1e-6).fit(features, labels)
    grow, shift = (RATIO + 1) / 2, (RATIO - 1) / 2
    return minority_error(grow * machine.coef_[0], grow * machine.intercept_[0] + shift, mean)


def monte_carlo(train) -> tuple[float, float, int]:
    """Mean minority error, seconds and draws to reach the wanted standard error."""
    rng, errors, start = np.random.default_rng(0), [], time.perf_counter()
    while len(errors) < 20 or np.std(errors, ddof=1) / np.sqrt(len(errors)) > WANTED:
        errors.append(train(*draw(rng)))
    return float(np.mean(errors)), time.perf_counter() - start, len(errors)


def line(name: str, taken: float, unit: str, note: str = "") -> None:
    scale = {"ms": 1e3, "s": 1.0}[unit]
    print(f"{name:46s} {taken * scale:9.3f} {unit:2s}  {note}", flush=True)


def main() -> None:
    """Measure and print."""
    mixture, groups = GaussianMixture.antipodal(PRIOR, STRENGTH), GaussianMixture.groups(PRIOR, (3, 2))
    svm = hard_margin(mixture, ASPECT_RATIO, RATIO)
    point = seconds(lambda: hard_margin(mixture, ASPECT_RATIO, RATIO).errors, 100)
    line("one point, two classes", point, "ms", f"errors {svm.errors.round(6)}, residual {svm.residual:.0e}")
    line("one point, two groups", seconds(lambda: hard_margin(groups, 1.0, required=(3, 3, 1, 1)).errors, 50), "ms")
    taken = seconds(lambda: hard_margin(mixture, 1.0, RATIO, intercept=False).errors, 50)
    line("one point, no intercept", taken, "ms")
    line("separability threshold", seconds(lambda: separability_threshold(mixture), 50), "ms")
    line("ratio of equal opportunity", seconds(lambda: equal_opportunity_ratio(groups, 1.0), 5), "ms")
    whole = hard_margin_map(GRID[0], STRENGTH, GRID[1])
    ratios = np.geomspace(0.01, 100, 50)
    line(
        "map, 100 priors x 100 aspect ratios",
        seconds(lambda: hard_margin_map(GRID[0], STRENGTH, GRID[1]).balanced_error),
        "s",
        f"{whole.separable.mean():.0%} separable, residual {np.nanmax(whole.residual):.0e}",
    )
    line("path of 50 ratios from one point", seconds(lambda: svm.at_ratio(ratios).errors, 100), "ms")
    taken = seconds(lambda: by_fsolve(PRIOR, STRENGTH, ASPECT_RATIO, RATIO), 20)
    _, found = by_fsolve(PRIOR, STRENGTH, ASPECT_RATIO, RATIO)
    line("fsolve from zeros, one point", taken, "ms", f"{taken / point:.1f} x; errors {found.round(6)}")
    settings = [(p, a) for p in GRID[0][::10] for a in GRID[1][::10, 0]]
    margins, errors = zip(*(by_fsolve(p, STRENGTH, a, RATIO) for p, a in settings), strict=True)
    stated = hard_margin_map(np.array(settings)[:, 0], STRENGTH, np.array(settings)[:, 1], RATIO)
    inside, margins = stated.separable, np.array(margins)
    wrong = np.abs(np.array(errors) - stated.errors).max(-1)[inside] > 1e-6
    print(
        f"fsolve on {len(settings)} settings of the map: {np.isnan(margins[inside]).sum()} without a solution, "
        f"{wrong.sum()} wrong; where none is separable {(margins[~inside] < 0).sum()} of {(~inside).sum()} with u < 0"
    )
    with threadpool_limits(1):
        for name, train in (("library", by_library), ("scikit-learn", by_sklearn)):
            mean, taken, draws = monte_carlo(train)
            line(f"Monte Carlo to {WANTED}, {name}", taken, "s", f"{taken / point:.0f} x; {draws} draws, {mean:.3f}")


if __name__ == "__main__":
    main()
