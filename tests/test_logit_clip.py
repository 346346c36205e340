"""LogitClip: the operator, exact ranges, best clipped logits, noise bounds and thresholds; the wrapper in torch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax
from tailbound.sims.core.results import load_results
from tailbound.sims.logit_clip import CERTAIN, NOISES, draw_transition
from tailbound.theory.core.errors import InputError
from tailbound.theory.logit_clip import clip, minimiser, noise, ranges
from tailbound.theory.logit_clip.programs import clipped_program

INF = float("inf")
NORMS = (1.0, 1.5, 2.0, 3.0, INF)
every_norm = pytest.mark.parametrize("norm", NORMS)
solved_norm = pytest.mark.parametrize("norm", [1.0, 2.0, INF])
steady = settings(deadline=None, max_examples=40)  # a busy machine is no failure
seeds, thresholds = st.integers(0, 2**32 - 1), st.floats(0.01, 30)


def lengths(z, norm):
    return np.linalg.norm(z, norm, axis=-1)


# The operator


@every_norm
@steady
@given(seed=seeds, max_norm=thresholds, size=st.sampled_from([1e-300, 1e-3, 1.0, 1e200]))
def test_clipping_shortens_and_keeps_the_direction(norm, seed, max_norm, size):
    z = size * np.random.default_rng(seed).standard_normal((6, 5))
    clipped = clip.clip_logits(z, max_norm, norm=norm)
    assert (lengths(clipped, norm) <= max_norm * (1 + 1e-12)).all()
    assert (clipped.argsort(axis=1) == z.argsort(axis=1)).all()
    short = lengths(z / max(size, 1), norm) * max(size, 1) <= max_norm
    np.testing.assert_array_equal(clipped[short], z[short])
    np.testing.assert_allclose(clipped / np.abs(clipped).max(), z / np.abs(z).max() * _shares(clipped, z), rtol=1e-9)


def _shares(clipped, z):
    """Each row's own factor, of the largest entry of all."""
    own = np.abs(clipped).max(axis=1, keepdims=True) / np.abs(clipped).max()
    return own / (np.abs(z).max(axis=1, keepdims=True) / np.abs(z).max())


@every_norm
def test_zero_logits_stay_and_have_the_gradient_of_cross_entropy(norm):
    z = np.zeros((1, 4))
    assert not clip.clip_logits(z, 0.5, norm=norm).any()
    np.testing.assert_allclose(clip.clipped_gradient(z, np.array([1]), 0.5, norm=norm), [[0.25, -0.75, 0.25, 0.25]])


@every_norm
@steady
@given(seed=seeds, max_norm=st.floats(0.1, 3))
def test_gradient_is_orthogonal_outside_the_ball_and_falls_with_the_norm(norm, seed, max_norm):
    rng = np.random.default_rng(seed)
    z, labels = rng.standard_normal((6, 5)), rng.integers(5, size=6)
    z *= 1.5 * max_norm / lengths(z, norm)[:, None]
    gradient = clip.clipped_gradient(z, labels, max_norm, norm=norm)
    np.testing.assert_allclose((gradient * z).sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(clip.clipped_gradient(9 * z, labels, max_norm, norm=norm), gradient / 9, atol=1e-13)


# Ranges


@every_norm
@steady
@given(seed=seeds, max_norm=thresholds, num_classes=st.integers(2, 12))
def test_no_logits_leave_the_range(norm, seed, max_norm, num_classes):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((40, num_classes)) ** 3
    z *= max_norm * rng.uniform(0, 1, (40, 1)) ** 0.1 / lengths(z, norm)[:, None]
    losses = logsumexp(z, axis=1) - z[:, 0]
    low, high = ranges.loss_range(max_norm, num_classes, norm=norm)
    assert (losses >= low - 1e-12).all()
    assert (losses <= high + 1e-12).all()
    least, most = ranges.probability_range(max_norm, num_classes, norm=norm)
    np.testing.assert_allclose([least, most], np.exp([-high, -low]))
    if norm in (1, 2, INF):
        sums = num_classes * logsumexp(z, axis=1) - z.sum(axis=1)
        bottom, top = ranges.label_sum_range(max_norm, num_classes, norm=norm)
        assert (sums >= bottom - 1e-9).all()
        assert (sums <= top * (1 + 1e-12)).all()


@every_norm
@pytest.mark.parametrize("num_classes", [2, 3, 50])
def test_both_ends_are_attained_and_meet_at_log_k(norm, num_classes):
    tiny = ranges.loss_range(1e-9, num_classes, norm=norm)
    np.testing.assert_allclose(tiny, np.log(num_classes), atol=1e-8)
    for max_norm in (0.3, 3.0, 20.0):
        low, high = ranges.loss_range(max_norm, num_classes, norm=norm)
        pull = np.where(np.arange(num_classes) == 0, 1.0, -1 / (num_classes - 1))
        best = np.sign(pull) * np.abs(pull) ** (1 / (norm - 1)) if norm > 1 else np.maximum(pull, 0)
        best *= max_norm / lengths(best, norm)
        np.testing.assert_allclose(np.log1p(np.exp(best[1:] - best[0]).sum()), low, rtol=1e-12)
        if 1 < norm < INF:
            worst = ranges.two_level_logits(np.linspace(0, 1, 2001), max_norm, num_classes, norm=norm)
            np.testing.assert_allclose(lengths(worst, norm), max_norm, rtol=1e-12)
            found = (logsumexp(worst, axis=1) - worst[:, 0]).max()
            assert high - 1e-4 <= found <= high + 1e-10


@pytest.mark.parametrize(("norm", "num_classes", "max_norm"), [(1.15, 3, 8), (1.2, 4, 9), (1.01, 5, 2), (2, 1000, 17)])
def test_largest_loss_where_the_other_wrong_logits_are_tiny(norm, num_classes, max_norm):
    ratios = np.exp(-np.concatenate([np.linspace(0, 700, 70_001), [np.inf]]))
    z = ranges.two_level_logits(ratios if num_classes < 10 else ratios[:2000], max_norm, num_classes, norm=norm)
    np.testing.assert_allclose(np.linalg.norm(z, norm, axis=1), max_norm, rtol=1e-12)
    assert ranges.loss_range(max_norm, num_classes, norm=np.float32(norm) if norm == 2 else norm).high == pytest.approx(
        (logsumexp(z, axis=1) - z[:, 0]).max(), rel=1e-7
    )


def test_contrast_is_the_dual_norm():
    assert ranges.contrast(2, 2) == pytest.approx(np.sqrt(2))
    assert ranges.contrast(7, 1) == 1
    assert ranges.contrast(7, INF) == 2
    assert ranges.contrast(10, 1.0001) == pytest.approx(1, abs=1e-3)
    assert ranges.contrast(10, 1e6) == pytest.approx(2, abs=1e-4)


# The best clipped logits


@solved_norm
@steady
@given(
    seed=seeds,
    max_norm=st.floats(1e-3, 50),
    num_classes=st.integers(2, 9),
    spread=st.sampled_from([0.1, 1.0, 10.0]),
    zeros=st.booleans(),
)
def test_minimiser_has_no_duality_gap(norm, seed, max_norm, num_classes, spread, zeros):
    """Frank and Wolfe's gap, <gradient, z> + τ ||gradient||_q, bounds the distance to the least value."""
    q = np.random.default_rng(seed).dirichlet(np.full(num_classes, spread))
    if zeros:
        q[q < q.max() / 3] = 0
    q /= q.sum()
    z = minimiser.clipped_minimiser(q, max_norm, norm=norm)
    gradient = softmax(z) - q
    dual = {1.0: INF, 2.0: 2, INF: 1}[norm]
    assert lengths(z, norm) <= max_norm * (1 + 1e-9)
    assert abs(gradient @ z + max_norm * np.linalg.norm(gradient, dual)) <= 1e-9 * max(1, max_norm)
    order = np.argsort(-q, kind="stable")
    assert (np.diff(z[order]) <= 1e-7 * max(1, max_norm)).all()


@every_norm
def test_program_agrees_with_the_least_loss(norm):
    z, proof = clipped_program(np.eye(6)[2], 1.3, norm=norm)
    assert z.argmax() == 2
    assert proof.value == pytest.approx(ranges.loss_range(1.3, 6, norm=norm).low, abs=1e-7)


def test_minimiser_inside_the_ball_is_the_distribution():
    q = np.array([0.5, 0.3, 0.2])
    for norm in (1.0, 2.0, INF):
        np.testing.assert_allclose(softmax(minimiser.clipped_minimiser(q, 5.0, norm=norm)), q, rtol=1e-12)


# Noise


@solved_norm
@steady
@given(eta=st.floats(0.01, 0.6), max_norm=st.floats(0.05, 8), num_classes=st.integers(3, 9))
def test_symmetric_gap_is_that_of_the_best_fits(norm, eta, max_norm, num_classes):
    eta = min(eta, 0.95 * (1 - 1 / num_classes))
    found = minimiser.risk_gap(np.eye(num_classes), noise.symmetric_transition(eta, num_classes), max_norm, norm=norm)
    stated = noise.symmetric_gap(eta, max_norm, num_classes, norm=norm)
    np.testing.assert_allclose(found.clean, stated, atol=1e-9)
    sharp, crude, trivial = noise.symmetric_bounds(eta, max_norm, num_classes, norm=norm)
    assert -1e-12 <= stated <= min(sharp, crude, trivial) + 1e-12
    assert sharp <= crude * (1 + 1e-12)


@every_norm
@pytest.mark.parametrize("num_classes", [2, 10])
def test_threshold_is_where_the_reach_is_one_minus_eta(norm, num_classes):
    for eta in (0.05, 0.3, 0.45):
        threshold = noise.zero_gap_threshold(eta, num_classes, norm=norm)
        assert ranges.probability_range(threshold, num_classes, norm=norm).high == pytest.approx(1 - eta)
        assert noise.symmetric_gap(eta, 0.999 * threshold, num_classes, norm=norm) == 0
        assert noise.symmetric_gap(eta, 1.001 * threshold, num_classes, norm=norm) > 0
        symmetric = noise.symmetric_transition(eta, num_classes)
        assert noise.class_dependent_threshold(symmetric, norm=norm) == pytest.approx(threshold)
    assert noise.zero_gap_threshold(0.0, num_classes, norm=norm) == INF


@solved_norm
@pytest.mark.parametrize("seed", range(6))
def test_class_dependent_threshold_of_drawn_noise(norm, seed):
    transition = draw_transition(np.random.default_rng(seed), "drawn", 0.3, 6)
    threshold = noise.class_dependent_threshold(transition, norm=norm)
    if norm == 2:
        assert threshold == 0
    if threshold:
        assert minimiser.risk_gap(np.eye(6), transition, 0.99 * threshold, norm=norm).clean <= 1e-12
    past = minimiser.risk_gap(np.eye(6), transition, 1.05 * threshold + 0.05, norm=norm).clean
    assert past > 1e-7


@pytest.mark.parametrize("kind", NOISES)
def test_transitions_have_rows_that_sum_to_one(kind):
    matrix = draw_transition(np.random.default_rng(0), kind, 0.4, 5)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    np.testing.assert_allclose(np.diag(matrix), 0.6)
    assert noise.class_dependent_bounds(matrix, 1.0).sharp > 0


def test_class_dependent_bounds_weigh_the_classes():
    matrix = np.array([[0.9, 0.1, 0.0], [0.0, 0.7, 0.3], [0.2, 0.2, 0.6]])
    each = [noise.class_dependent_bounds(matrix, 2.0, class_priors=row) for row in np.eye(3)]
    mean = noise.class_dependent_bounds(matrix, 2.0)
    np.testing.assert_allclose(np.mean(each, axis=0), mean)


# Stored results


def test_stored_gaps_agree_with_the_closed_form():
    rows = load_results("logit_clip.noise_gap")
    certain = rows.loc[(rows.noise == "symmetric") & (rows.signal_strength == CERTAIN)]
    assert len(certain) > 100
    stated = [
        noise.symmetric_gap(row.noise_rate, row.max_norm, row.num_classes, norm=row.norm)
        for row in certain.itertuples()
    ]
    np.testing.assert_allclose(certain.clean, stated, atol=1e-9)
    assert (rows.noisy > -1e-12).all()
    assert (rows.clean > -1e-12).all()
    certain = rows.loc[rows.signal_strength == CERTAIN]
    assert (certain.noisy <= certain.bound).all()


def test_stored_memorisation_depends_on_the_step():
    means = load_results("logit_clip.memorisation").groupby(["dimension", "rate", "max_norm"]).mean(numeric_only=True)
    for dimension in (100, 400):
        large = means.loc[dimension, 2000.0]
        assert large.memorised[1.0] < large.memorised[1000.0] - 0.2
        assert large.accuracy[1.0] > large.accuracy[1000.0] + 0.1
    assert (means.loc[400, 2.0].memorised > 0.99).all()


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: clip.clip_logits(np.ones((1, 2)), 0.0), "max_norm must be finite and > 0, got 0.0"),
        (lambda: clip.clip_logits(np.ones((1, 2)), 1.0, norm=0.5), r"norm must lie in \[1, inf\], got 0.5"),
        (lambda: clip.clip_logits(np.ones((1, 2)), 1.0, norm=np.nan), r"norm must lie in \[1, inf\], got nan"),
        (lambda: clip.clipped_cross_entropy(np.ones((1, 2)), np.array([2]), 1.0), r"labels must be integers in 0\.\.1"),
        (lambda: ranges.loss_range(1.0, 1), "num_classes must be a whole number >= 2, got 1"),
        (lambda: ranges.two_level_logits(0.5, 1.0, 3, norm=1), "norm must lie between 1 and inf here, got 1"),
        (lambda: ranges.loss_range(1.0, 3, norm=True), r"norm must lie in \[1, inf\], got True"),
        (lambda: minimiser.clipped_minimiser(np.array([1.0, 0.0]), 501.0), "max_norm must be <= 500"),
        (lambda: minimiser.risk_gap(np.eye(3), np.eye(2), 1.0), "posteriors must have 2 classes"),
        (lambda: ranges.label_sum_range(1.0, 3, norm=3.0), "norm must be 1, 2 or inf"),
        (lambda: noise.zero_gap_threshold(0.9, 10), "noise_rate must be < 1 - 1/K = 0.9, got 0.9"),
        (lambda: noise.symmetric_transition(1.1, 3), r"noise_rate must lie in \[0, 1\], got 1.1"),
        (lambda: noise.class_dependent_threshold(np.ones((2, 3))), r"transition must have shape \(K, K\)"),
        (lambda: noise.class_dependent_threshold(np.ones((2, 2))), "rows of numbers >= 0 that sum to 1"),
        (lambda: noise.class_dependent_bounds(np.full((2, 2), 0.5), 1.0), "the most likely one"),
        (
            lambda: noise.class_dependent_bounds(np.eye(2), 1.0, class_priors=[1.0, 1.0]),
            "class_priors must be 2 numbers",
        ),
        (
            lambda: minimiser.clipped_minimiser(np.array([0.5, 0.4]), 1.0),
            "posterior must be numbers >= 0 that sum to 1",
        ),
        (lambda: minimiser.clipped_minimiser(np.array([0.5, 0.5]), 1.0, norm=3.0), "norm must be 1, 2 or inf"),
        (lambda: draw_transition(None, "pair", 0.1, 3), "unknown noise 'pair'; did you mean pairs"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()


# The wrapper in torch; the battery of tests/test_losses.py holds it to the other losses


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@every_norm
def test_wrapper_of_torch_losses_agrees_with_the_formula(torch, norm):
    from tailbound.nn_validation.logit_clip import LogitClip

    z = torch.tensor([[3.0, -4.0, 0.5], [0.1, 0.2, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 2, 1])
    value = LogitClip(torch.nn.CrossEntropyLoss(reduction="none"), 1.5, norm=norm)(z, labels)
    value.sum().backward()
    plain, indices = z.detach().numpy(), labels.numpy()
    np.testing.assert_allclose(value.detach(), clip.clipped_cross_entropy(plain, indices, 1.5, norm=norm), rtol=1e-12)
    np.testing.assert_allclose(z.grad, clip.clipped_gradient(plain, indices, 1.5, norm=norm), atol=1e-12)


@every_norm
@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_minus_infinity_rules_a_class_out(torch, norm, scale):
    from tailbound.nn_validation.logit_clip import LogitClip

    rest, labels = scale * np.array([[1.0, -2.0, 0.5], [0.3, 0.1, -0.2]]), np.array([2, 1])
    z = torch.tensor(np.insert(rest, 1, -np.inf, axis=1), requires_grad=True)
    value = LogitClip(torch.nn.CrossEntropyLoss(reduction="none"), 1.5, norm=norm)(z, torch.tensor([3, 2]))
    value.sum().backward()
    np.testing.assert_allclose(value.detach(), clip.clipped_cross_entropy(rest, labels, 1.5, norm=norm), rtol=1e-12)
    gradient = np.insert(clip.clipped_gradient(rest, labels, 1.5, norm=norm), 1, 0.0, axis=1)
    np.testing.assert_allclose(z.grad, gradient, atol=1e-12)
    plain, moved = z.detach().numpy(), np.array([3, 2])
    np.testing.assert_allclose(clip.clipped_cross_entropy(plain, moved, 1.5, norm=norm), value.detach(), rtol=1e-12)
    np.testing.assert_allclose(clip.clipped_gradient(plain, moved, 1.5, norm=norm), gradient, atol=1e-12)


@every_norm
def test_wrapper_is_smooth_at_zero_in_every_precision(torch, norm):
    from tailbound.nn_validation.logit_clip import clip_norm

    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        z = torch.zeros(2, 4, dtype=dtype, requires_grad=True)
        clipped = clip_norm(z, 1e-3, norm=norm)
        (grad,) = torch.autograd.grad(clipped.sum(), z)
        assert not clipped.any()
        assert torch.equal(grad, torch.ones_like(grad))
        tiny = torch.full((1, 4), 1e-30, dtype=torch.float64, requires_grad=True)
        assert torch.equal(clip_norm(tiny, 1.0, norm=norm), tiny)
    huge = torch.full((1, 4), 6e4, dtype=torch.float16)
    length = torch.linalg.vector_norm(clip_norm(huge, 2.0, norm=norm), norm)
    torch.testing.assert_close(length, torch.tensor(2.0))


def test_wrapper_takes_functions_other_axes_and_compiles(torch):
    from tailbound.nn_validation.core.objective import Objective
    from tailbound.nn_validation.logit_clip import LogitClip

    loss = LogitClip(torch.nn.functional.cross_entropy, 2.0)
    z, labels = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)) * 9, torch.zeros(3, 5).long()
    stated = torch.nn.functional.cross_entropy(2 * torch.nn.functional.normalize(z, dim=1), labels)
    torch.testing.assert_close(loss(z, labels), stated)
    torch.testing.assert_close(LogitClip(Objective(), 2.0)(z, labels), stated)
    torch.testing.assert_close(loss(z[0, :, 0], labels[0, 0]), loss(z[:1, :, 0], labels[:1, 0]))
    torch.compiler.reset()
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(z, labels), stated)
    assert "max_norm=2, norm=2" in repr(loss)


def test_wrapper_passes_hooks_and_settings_through(torch):
    from tailbound.nn_validation.baselines import FocalLoss
    from tailbound.nn_validation.logit_clip import LogitClip

    inner = FocalLoss([5, 3], focusing=2.0)
    loss = LogitClip(inner, 1.0, norm=1.0)
    loss.set_weight([1.0, 3.0])
    assert inner.weight.tolist() == [1.0, 3.0]
    assert loss.class_counts is inner.class_counts
    assert loss.reduction == "mean"
    z = torch.tensor([[4.0, 0.0]])
    torch.testing.assert_close(loss.losses(z), inner.losses(z / 4))
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        loss.nothing_of_that_name  # noqa: B018
    for bad in ({"loss": None}, {"loss": inner, "max_norm": -1.0}, {"loss": inner, "norm": 0.0}):
        with pytest.raises(InputError):
            LogitClip(**bad)
