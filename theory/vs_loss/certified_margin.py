"""The limit of a two-class SVM as certified enclosures: the one equation of `asymptotics` in ball arithmetic."""

from typing import Any, NamedTuple

from flint import arb

from ..core import gaussian
from ..core.certified import (
    CertificationError,
    Enclosure,
    as_ball,
    gaussian_cdf,
    gaussian_tail,
    partial_expectation,
    partial_second_moment,
    precision,
    root,
)

__all__ = ["CertifiedMargin", "certified_margin", "inverse_partial_expectation"]

_BITS = 128


class CertifiedMargin(NamedTuple):
    """Enclosures of the two-class limit with means ±μ, a free intercept and margin ratio 1.

    Args:
        pull: a = π_+ g1(t_+) = π_- g1(t_-).
        plus_lift: t_+.
        minus_lift: t_-.
        score: ρ ||μ||.
        margin: u = 1 / ||w||; not positive where the training set is not separable.
        intercept: b' = b / ||w||.
    """

    pull: arb
    plus_lift: arb
    minus_lift: arb
    score: arb
    margin: arb
    intercept: arb

    @property
    def means(self) -> tuple[arb, arb]:
        """l_+ and l_-."""
        return self.score + self.intercept, self.score - self.intercept

    @property
    def optimal_ratio(self) -> arb:
        """(u - b') / (u + b'); negative where no finite ratio is best."""
        return (self.margin - self.intercept) / (self.margin + self.intercept)

    def shift(self, margin_ratio) -> arb:
        """By how much the normalised intercept moves at another margin ratio."""
        return (margin_ratio - 1) / (margin_ratio + 1) * self.margin

    def errors(self, shift: Any = 0) -> tuple[Enclosure, Enclosure]:
        """Test errors of both classes when the intercept moves by `shift`."""
        plus, minus = self.means
        return gaussian_tail(plus + shift), gaussian_tail(minus - shift)

    def balanced(self, shift: Any = 0) -> arb:
        """Balanced error when the intercept moves by `shift`."""
        plus, minus = self.errors(shift)
        return (plus.ball + minus.ball) / 2


@precision(_BITS)
def certified_margin(prior, signal_strength, aspect_ratio, moment=partial_second_moment) -> CertifiedMargin:
    """The limit from one certified root, in t_-: π_+ g2(t_+) + π_- g2(t_-) + 4 m² a² / γ = γ with a = π_- g1(t_-).

    Args:
        prior: π = P(y = +1), in (0, 1). All three numbers: int, float (exact), Fraction, decimal string or ball.
        signal_strength: m = ||μ||, half the distance of the means.
        aspect_ratio: γ = d / n > 0.
        moment: g2.

    Raises:
        CertificationError: if no sign change is certified, for t_- < -30.

    Source:
        Lyu et al. (2026), Lemma E.9; see `asymptotics`.

    Example:
        >>> print(Enclosure(certified_margin("0.1", "1.5", 2).score))
        [0.72547300080507733, 0.72547300080507734]
    """
    plus, strength, ratio = as_ball(prior), as_ball(signal_strength), as_ball(aspect_ratio)
    minus = 1 - plus
    top = (ratio * plus / minus).sqrt()  # t <= g1(t) = a / π_-, and E X² >= (E X)²

    def lifts(minus_lift):
        pull = minus * partial_expectation(minus_lift).ball
        return pull, inverse_partial_expectation(pull / plus)

    def excess(minus_lift):
        pull, plus_lift = lifts(minus_lift)
        energy = plus * moment(plus_lift).ball + minus * moment(minus_lift).ball
        return energy + 4 * (strength * pull) ** 2 / ratio - ratio

    minus_lift = root(excess, -30, (top + 1).upper(), width=1e-18).ball
    pull, plus_lift = lifts(minus_lift)
    score = 2 * strength**2 * pull / ratio
    return CertifiedMargin(
        pull, plus_lift, minus_lift, score, (plus_lift + minus_lift) / 2 + score, (minus_lift - plus_lift) / 2
    )


def inverse_partial_expectation(value: arb) -> arb:
    """The t with E (G + t)_+ = value, over a ball of values > 0, by interval Newton steps from the float.

    Raises:
        CertificationError: if the ball is too wide.

    Example:
        >>> inverse_partial_expectation(partial_expectation(-3).ball).contains(-3)
        True
    """
    start = float(gaussian.inverse_partial_expectation(float(value.mid())))
    ball = arb(start, 1e-8 * (1 + abs(start)))
    for k in range(3):
        middle = ball.mid()
        step = middle - (partial_expectation(middle).ball - value) / gaussian_cdf(ball).ball
        if k == 0 and not ball.contains(step):  # the root lies in the first ball, and so in every later one
            raise CertificationError(f"the inverse of E (G + t)_+ at {Enclosure(value)} is not certified near {start}")
        ball = step
    return ball
