"""Claims that are decided by simulation: draws of a study in a table, and the agreement rule as two sides.

Example:
    >>> from .study import Study
    >>> def draw_uniform(rng, *, width):
    ...     return {"value": width * rng.random()}
    >>> study = Study("example.uniform", draw_uniform, cases=({"width": 2.0},))
    >>> sides = within(agreement(drawn(study, 200, width=1.0), theory=0.5, column="value"))
    >>> bool(sides.computed[0] <= sides.stated[0])
    True
"""

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ...theory.core.claims import Sides
from .study import STANDARD_ERRORS, Agreement, Study, agreement, matching

__all__ = ["agreement", "agreements", "drawn", "matching", "surely", "within"]


def agreements(rows: pd.DataFrame, num_examples: float, **columns: tuple[float, float]) -> list[Agreement]:
    """Compare several columns with the theory; each is given as (theory, c), its allowance being c / `num_examples`."""
    return [agreement(rows, float(theory), name, c / num_examples) for name, (theory, c) in columns.items()]


def drawn(study: Study, repetitions: int, **case) -> pd.DataFrame:
    """Draw a case of a study anew, with the seeds that the study gives it; tidy rows with ``repetition``.

    On one thread, as `run` draws: more of them slow small solves down, up to tenfold on a busy machine.
    """
    with threadpool_limits(1):
        rows = [{"repetition": k} | row for k in range(repetitions) for row in study.draw_rows(case, repetition=k)]
    return pd.DataFrame(rows)


def surely(*samples) -> Sides:
    """For a claim "greater": the mean of each sample less 4 standard errors, beside 0; paired differences, say.

    Example:
        >>> sides = surely([0.9, 1.1, 1.0, 1.0])
        >>> sides.computed.round(3), sides.stated
        (array([0.837]), array([0.]))
    """
    table = [np.asarray(sample, dtype=float) for sample in samples]
    means = np.array([sample.mean() for sample in table])
    errors = np.array([sample.std(ddof=1) / np.sqrt(len(sample)) for sample in table])
    note = f"means {means.round(5).tolist()} ± {errors.round(5).tolist()}"
    return Sides(means - STANDARD_ERRORS * errors, np.zeros(len(means)), note=note)


def within(*agreements: Agreement, note: str = "") -> Sides:
    """The agreement rule for a claim "at most": |mean − theory| beside 4 standard errors plus the allowance."""
    means = ", ".join(f"{each.mean:.4g} ± {each.standard_error:.1g} ({each.theory:.4g})" for each in agreements)
    return Sides(
        [abs(each.mean - each.theory) for each in agreements],
        [each.tolerance for each in agreements],
        note=f"{note}{'; ' if note else ''}simulated ± standard error (theory): {means}",
    )
