"""A number for a practitioner, with what it rests on. Each system yields its own from ``theory/<slug>/constants.py``.

Every number says where it comes from: ``theorem`` (a claim of the ledger says that it is right for a named criterion),
``convention`` (a choice of the literature without a theorem) or ``sweep`` (tuned on the literature's data sets).
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from .errors import InputError

__all__ = ["Constant", "Origin", "by", "constant", "ledger"]


class Origin(StrEnum):
    """What a number rests on."""

    THEOREM = "theorem"
    CONVENTION = "convention"
    SWEEP = "sweep"


@dataclass(frozen=True)
class Constant:
    """One number or one vector for a practitioner.

    Args:
        name: ``method.parameter``.
        value: a number, or one for each class, shape (K,).
        formula: how it is computed.
        reason: why this value.
        origin: theorem, convention or sweep.
        claim: id of the claim it rests on; empty when nothing supports the number itself.
        verdict: the ledger's verdict on that claim, ``none`` without one.
        low: smallest sensible value (of each entry).
        high: largest sensible value (of each entry).
        range_reason: where the range comes from.
    """

    name: str
    value: Any
    formula: str
    reason: str
    origin: Origin
    claim: str
    verdict: str
    low: float | None = None
    high: float | None = None
    range_reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        plain = dict(self.__dict__, origin=str(self.origin))
        plain["value"] = self.value.tolist() if isinstance(self.value, np.ndarray) else self.value
        return plain


@cache
def ledger() -> dict[str, str]:
    """Verdict of every claim, as recorded by ``python -m tailbound.theory.claim_index`` and checked by the tests."""
    package = str(__package__).rpartition(".")[0]
    return json.loads(files(package).joinpath("claims/verdicts.json").read_text(encoding="utf-8"))


def constant(
    name: str,
    value: Any,
    formula: str,
    reason: str,
    origin: Origin | str,
    claim: str = "",
    low: float | None = None,
    high: float | None = None,
    range_reason: str = "",
) -> Constant:
    """Return a `Constant` with the recorded verdict on its claim; an empty claim says that no theorem supports it.

    Raises:
        InputError: for a claim without a recorded verdict.
    """
    verdict = _verdict(claim) if claim else "none"
    return Constant(name, value, formula, reason, Origin(origin), claim, verdict, low, high, range_reason)


def by(claim: str) -> str:
    """Return a reference to a claim and its verdict, for a reason in words.

    Example:
        >>> by("ldam.cosine_gap")
        '(claim ldam.cosine_gap: proved)'
    """
    return f"(claim {claim}: {_verdict(claim)})"


def _verdict(claim: str) -> str:
    if claim not in ledger():
        system = claim.partition(".")[0]
        raise InputError(
            f"claim {claim!r} has no recorded verdict; run: python -m tailbound.theory.claim_index {system}"
        )
    return ledger()[claim]
