"""Binary mixtures anywhere in the box of settings, and their hard-margin limit."""

from hypothesis import strategies as st
from tailbound.theory.vs_loss.asymptotics import BelowThreshold, hard_margin
from tailbound.theory.vs_loss.mixture import GaussianMixture

logs = st.floats(0, 1)


def between(low, high, share):
    """The number a share of the way up, on a logarithmic scale."""
    return low * (high / low) ** share


@st.composite
def points(draw):
    """A binary mixture, an aspect ratio and a margin ratio anywhere in the box."""
    prior, aspect_ratio, ratio = (
        between(low, high, draw(logs)) for low, high in ((1e-3, 0.5), (0.05, 50), (0.01, 100))
    )
    norms = draw(st.floats(0, 8)), draw(st.floats(0, 8))
    mixture = GaussianMixture.binary(prior, norms, draw(st.floats(-1, 1)) * norms[0] * norms[1])
    return mixture, aspect_ratio, ratio


def solved(mixture, aspect_ratio, ratio=1.0, **options):
    """The limit, or None where no margin exists."""
    try:
        return hard_margin(mixture, aspect_ratio, ratio, **options)
    except BelowThreshold:
        return None
