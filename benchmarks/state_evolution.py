"""Times the ridge asymptotics: python benchmarks/state_evolution.py. One line a measurement, the best of some runs.

Settings at random cover the range: priors 0.001 to 0.5, d/n 0.05 to 50, ridges 1e-8 to 100, every loss of the family.
Peers, in the same run: the usual way, damped iteration with 61 Gauss-Hermite nodes and a proximal map by bisection; and
Monte Carlo, classifiers trained by Newton's method (n = 400) until the standard error of a class error is 0.002.
"""

import time

import numpy as np
from tailbound.sims.vs_loss.erm import fit_multiclass, fit_ridge
from tailbound.sims.vs_loss.gaussian import draw_sample
from tailbound.theory.core.class_counts import ClassCounts
from tailbound.theory.core.fixed_point import NotConverged
from tailbound.theory.core.gaussian import tail
from tailbound.theory.vs_loss.losses import vs_parameters
from tailbound.theory.vs_loss.mixture import GaussianMixture
from tailbound.theory.vs_loss.multiclass import ridge_erm_multiclass
from tailbound.theory.vs_loss.quadrature import orthant_probability
from tailbound.theory.vs_loss.scalar_losses import HingeLoss, LogisticLoss, vs_family
from tailbound.theory.vs_loss.state_evolution import ridge_erm
from threadpoolctl import threadpool_limits

RUNS, SETTINGS = 3, 200
UNEVEN = GaussianMixture.binary(0.2, norms=(2.0, 1.5), inner=0.5)
THREE = GaussianMixture((0.6, 0.3, 0.1), ((4.0, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, 6.25)))
COUNTS = ClassCounts((6, 3, 1))
EXAMPLES, WANTED, LEAST_DRAWS = 400, 0.002, 20


def seconds(action, repeats: int = 1) -> float:
    """Best wall time of one call over several runs of `repeats` calls."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        for _ in range(repeats):
            action()
        times.append((time.perf_counter() - start) / repeats)
    return min(times)


def line(name: str, taken: float, unit: str, note: str = "") -> None:
    scale = {"ms": 1e3, "s": 1.0}[unit]
    print(f"{name:46s} {taken * scale:9.3f} {unit:2s}  {note}", flush=True)


def by_damped_iteration(mixture, aspect_ratio, ridge, losses, damping=0.3, tolerance=1e-9):
    """Class errors and iterations, the classical way."""
    priors, signs, gram = np.array(mixture.priors), np.array(mixture.signs), np.array(mixture.gram)
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    weights = weights / weights.sum()
    means, square, step, b = 0.1 * signs, 1.0, 1.0, 0.0

    def prox(loss, h, step):
        low, high = h, h - step * loss.slope(h)
        for _ in range(50):
            middle = (low + high) / 2
            above = middle + step * loss.slope(middle) > h
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return (low + high) / 2

    iterations = 0
    while iterations < 1000:
        iterations += 1
        for _ in range(20):  # Newton's method in b
            points = [
                prox(loss, y * (m + b) + np.sqrt(square) * nodes, step)
                for y, m, loss in zip(signs, means, losses, strict=True)
            ]
            slopes = np.array([loss.slope(u) for loss, u in zip(losses, points, strict=True)])
            bends = np.array([loss.curvature(u) for loss, u in zip(losses, points, strict=True)])
            bends = bends / (1 + step * bends)
            move = (priors * signs) @ (slopes @ weights) / (priors @ (bends @ weights))
            b -= move
            if abs(move) < tolerance:
                break
        pull, stiffness = -priors * signs * (slopes @ weights), ridge + priors @ (bends @ weights)
        new_means = gram @ pull / stiffness
        new_square = (pull @ gram @ pull + aspect_ratio * (priors @ (slopes**2 @ weights))) / stiffness**2
        change = max(np.abs(new_means - means).max(), abs(new_square - square))
        means, square, step = (
            damping * old + (1 - damping) * new
            for old, new in ((means, new_means), (square, new_square), (step, aspect_ratio / stiffness))
        )
        if change < tolerance:
            break
    return tail(signs * (means + b) / np.sqrt(square)), iterations


def random_setting(rng):
    prior = np.exp(rng.uniform(np.log(1e-3), np.log(0.5)))
    aspect_ratio, ridge = np.exp(rng.uniform(np.log([0.05, 1e-8]), np.log([50, 100])))
    norms = np.exp(rng.uniform(np.log(0.1), np.log(6), 2))
    mixture = GaussianMixture.binary(prior, norms, rng.uniform(-1, 1) * norms.prod())
    name = rng.choice(["ce", "wce", "ldam", "la", "cdt", "vs"])
    return mixture, aspect_ratio, ridge, vs_family(name, prior, gamma=rng.uniform(0, 1))


def random_classes(rng, num_classes):
    ratio = 10 ** rng.uniform(0, 2)
    priors = ratio ** (-np.arange(num_classes) / (num_classes - 1))
    means = rng.standard_normal((num_classes, num_classes)) * rng.uniform(0.5, 2)
    mixture = GaussianMixture(tuple(priors / priors.sum()), tuple(map(tuple, means @ means.T)))
    counts = ClassCounts(tuple(np.maximum(1, np.round(1e4 * priors)).astype(int).tolist()))
    return mixture, vs_parameters(counts, gamma=rng.uniform(0, 0.5), tau=rng.uniform(0, 1.5))


def over_the_range(name, draws, solve, unit):
    """Times of random settings: median, 95 %, largest; and how many were refused."""
    times, refused, worst = [], 0, 0.0
    for arguments in draws:
        start = time.perf_counter()
        try:
            worst = max(worst, solve(*arguments))
        except NotConverged:
            refused += 1
        times.append(time.perf_counter() - start)
    middle, high, largest = np.quantile(times, [0.5, 0.95, 1])
    scale = {"ms": 1e3, "s": 1.0}[unit]
    note = (
        f"95 %: {high * scale:.3g}, largest {largest * scale:.3g}; {refused} of {len(times)} refused; error {worst:.0e}"
    )
    line(name, float(middle), unit, note)


def monte_carlo(train, errors_of) -> tuple[np.ndarray, float, int]:
    """Mean class errors, seconds and draws until the largest standard error is as wanted, from a first batch."""
    rng, errors, start = np.random.default_rng(0), [], time.perf_counter()
    for _ in range(LEAST_DRAWS):
        errors.append(errors_of(*train(rng)))
    taken = (time.perf_counter() - start) / LEAST_DRAWS
    draws = int(np.ceil((np.std(errors, axis=0, ddof=1).max() / WANTED) ** 2))
    return np.mean(errors, axis=0), taken * draws, draws


def binary_monte_carlo(aspect_ratio, ridge, losses):
    def train(rng):
        sample = draw_sample(rng, UNEVEN, EXAMPLES, round(aspect_ratio * EXAMPLES))
        return sample, *fit_ridge(sample.features, sample.labels, losses, ridge)

    def errors(sample, w, b):
        return tail(np.array([1, -1]) * (sample.mean_scores(w) + b) / np.linalg.norm(w))

    return monte_carlo(train, errors)


def multiclass_monte_carlo(aspect_ratio, ridge, parameters):
    def train(rng):
        sample = draw_sample(rng, THREE, EXAMPLES, round(aspect_ratio * EXAMPLES))
        return sample, *fit_multiclass(sample.features, sample.components, parameters, ridge)

    def errors(sample, W, b):
        scores, covariance = sample.mean_scores(W) + b[:, None], W @ W.T
        leads = [np.delete(np.eye(3)[c] - np.eye(3), c, axis=0) for c in range(3)]
        return [1 - orthant_probability(a @ scores[:, c], a @ covariance @ a.T)[0] for c, a in enumerate(leads)]

    return monte_carlo(train, errors)


def main() -> None:
    """Measure and print."""
    settings = {
        "separable, ridge 1e-4": (1.0, 1e-4, (LogisticLoss(2, 0.5, 0.4), LogisticLoss(1, -0.3, 1))),
        "overlapping, ridge 1e-2": (0.1, 1e-2, vs_family("la", 0.2)),
    }
    points = {}
    for name, setting in settings.items():
        fit = ridge_erm(UNEVEN, *setting)
        points[name] = seconds(lambda setting=setting: ridge_erm(UNEVEN, *setting), 20)
        line(f"binary, {name}", points[name], "ms", f"errors {fit.class_errors.round(6)}, residual {fit.residual:.0e}")
        taken = seconds(lambda setting=setting: by_damped_iteration(UNEVEN, *setting))
        errors, iterations = by_damped_iteration(UNEVEN, *setting)
        note = f"{taken / points[name]:.1f} x; errors {errors.round(6)}, {iterations} iterations"
        line("  damped iteration", taken, "ms", note)
    taken = seconds(lambda: ridge_erm(UNEVEN, 1.0, 1e-4, (HingeLoss(1.0, 2.5), HingeLoss())), 20)
    line("binary, hinge, separable", taken, "ms")
    groups = GaussianMixture.groups(0.1, (3, 2))
    taken = seconds(lambda: ridge_erm(groups, 1.0, 1e-3, [LogisticLoss(delta=d) for d in (0.3, 0.3, 1, 1)]), 20)
    line("binary, two groups", taken, "ms")
    rng = np.random.default_rng(0)
    drawn = [random_setting(rng) for _ in range(SETTINGS)]
    over_the_range(f"binary, {SETTINGS} settings", drawn, lambda *a: ridge_erm(*a).correction, "ms")
    la = vs_parameters(COUNTS, tau=1.0)
    fit = ridge_erm_multiclass(THREE, 0.5, 0.02, la)
    three = seconds(lambda: ridge_erm_multiclass(THREE, 0.5, 0.02, la), 5)
    line("K = 3", three, "ms", f"errors {fit.class_errors.round(5)}, quadrature error {fit.quadrature_error:.0e}")
    for classes, number in ((3, 60), (5, 30), (10, 20)):
        drawn = []
        for _ in range(number):
            mixture, parameters = random_classes(rng, classes)
            aspect_ratio, ridge = np.exp(rng.uniform(np.log([0.05, 1e-8 if classes == 3 else 1e-4]), np.log([50, 100])))
            drawn.append((mixture, aspect_ratio, ridge, parameters))
        over_the_range(
            f"K = {classes}, {number} settings",
            drawn,
            lambda *a: ridge_erm_multiclass(*a, accuracy=3e-3).quadrature_error,
            "s",
        )
    with threadpool_limits(1):
        for name, setting in settings.items():
            errors, taken, draws = binary_monte_carlo(*setting)
            note = f"{taken / points[name]:.0f} x; {draws} draws, errors {errors.round(3)}"
            line(f"Monte Carlo to {WANTED}, {name}", taken, "s", note)
        errors, taken, draws = multiclass_monte_carlo(0.5, 0.02, la)
        line(f"Monte Carlo to {WANTED}, K = 3", taken, "s", f"{taken / three:.0f} x; {draws} draws, {errors.round(3)}")


if __name__ == "__main__":
    main()
