"""The ledger's vocabulary: a claim is data plus a check that returns both sides; a machine decides it.

A check computes the two sides of a statement by different roads and returns them as numbers, exact rationals,
enclosures, or as a symbolic derivation. `decide` turns them into one of four verdicts:

=========== ===============================================================================================
proved      every case rests on an exact, certified or symbolic comparison, and the cases cover the statement
confirmed   every case agrees within the stated error
refuted     some case disagrees by more than the error; the first such case is the counterexample
unsettled   the computation could not decide; never counts as holding
=========== ===============================================================================================

A wrong variant overrides keyword arguments of the same check (another exponent, a dropped term, a swapped sign); the
ledger demands that every one of them is refuted. A claim expected to fail also carries the correction under which the
same check holds, so that the check is seen to be able to say both.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from inspect import cleandoc, signature
from typing import Any

import numpy as np

from .derivation import Derivation, StepOutcome
from .errors import InputError
from .grid import cases

__all__ = [
    "REGISTRY",
    "Claim",
    "ClaimError",
    "Decision",
    "Evidence",
    "Kind",
    "Relation",
    "Sides",
    "Verdict",
    "cases",
    "claim",
    "decide",
    "unregistered",
]


class ClaimError(Exception):
    """A claim or its check is malformed: NaN, empty or mismatched sides, a missing wrong variant."""


class Kind(StrEnum):
    """How a claim is checked."""

    SYMBOLIC = "symbolic"
    CERTIFIED = "certified"
    EXACT = "exact"
    CONVEX = "convex"
    NUMERIC = "numeric"
    SIMULATION = "simulation"
    NETWORK = "network"


class Relation(StrEnum):
    """How the computed side stands to the stated side.

    IDENTITY is EQUAL without any tolerance, LESS and GREATER are AT_MOST and AT_LEAST without equality, nor tolerance.
    """

    EQUAL = "="
    AT_MOST = "≤"
    AT_LEAST = "≥"
    LESS = "<"
    GREATER = ">"
    IDENTITY = "≡"

    @property
    def strict(self) -> bool:
        """Whether equal sides refute the statement."""
        return self in (Relation.LESS, Relation.GREATER)


class Verdict(StrEnum):
    """What the machine found."""

    PROVED = "proved"
    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    UNSETTLED = "unsettled"

    @property
    def holds(self) -> bool:
        """Whether the statement may be relied on."""
        return self in (Verdict.PROVED, Verdict.CONFIRMED)


@dataclass(frozen=True)
class Sides:
    """Both sides of a statement in one case.

    Args:
        computed: from the problem: a number, an array, exact rationals, or enclosures.
        stated: from the paper, of the same shape.
        uncertainty: half-width of the error of `computed` (a duality gap, an interval), a number or an array.
        note: what else was measured, for `explain`.
    """

    computed: Any
    stated: Any
    uncertainty: Any = 0.0
    note: str = ""


@dataclass(frozen=True)
class Evidence:
    """What decided one case."""

    case: Mapping[str, Any]
    verdict: Verdict
    figure: str
    computed: str = ""
    stated: str = ""
    note: str = ""
    steps: tuple[StepOutcome, ...] = ()
    excess: float = 0.0

    def to_json(self) -> dict:
        """Return plain data."""
        plain = {
            "case": {k: _text(v) for k, v in self.case.items()},
            "verdict": str(self.verdict),
            "figure": self.figure,
        }
        if self.computed:
            plain |= {"computed": self.computed, "stated": self.stated}
        if self.note:
            plain["note"] = self.note
        if self.steps:
            plain["steps"] = [
                {"text": o.step.text, "formula": str(o.step), "holds": o.holds, "reason": o.reason} for o in self.steps
            ]
        return plain


@dataclass(frozen=True)
class Decision:
    """The verdict on a claim, or on one of its variants."""

    claim: "Claim"
    verdict: Verdict
    evidence: tuple[Evidence, ...]
    seconds: float
    variant: str = ""

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the one the ledger expects."""
        return self.verdict.holds if self.claim.expected == "holds" else self.verdict is Verdict.REFUTED

    @property
    def deciding(self) -> Evidence:
        """The case that decided: the counterexample, the undecided case, or the last one checked."""
        return next((e for e in self.evidence if e.verdict is self.verdict), self.evidence[-1])

    @property
    def figure(self) -> str:
        """The deciding figure, one line."""
        if self.verdict.holds and len(self.evidence) > 1:
            worst = max(self.evidence, key=lambda e: e.excess)
            return f"{len(self.evidence)} cases; {worst.figure}"
        return self.deciding.figure

    def to_json(self) -> dict:
        """Return one object of ``verify --json``."""
        return {
            "id": self.claim.id,
            "system": self.claim.system,
            "kind": str(self.claim.kind),
            "verdict": str(self.verdict),
            "expected": self.claim.expected,
            "as_expected": self.as_expected,
            "figure": self.figure,
            "evidence": [e.to_json() for e in self.evidence],
            "seconds": round(self.seconds, 4),
        }


@dataclass(frozen=True)
class Claim:
    """A statement with everything needed to decide it. Made by the decorator `claim`.

    Args:
        id: ``slug.name``.
        source: paper with theorem, equation or section number.
        kind: how it is checked.
        check: function of a case's keywords; returns `Sides`, a pair (computed, stated), or a `Derivation`.
        formula: the statement in mathematics.
        statement: the statement in words (the check's docstring).
        relation: how computed stands to stated.
        rtol: relative tolerance, in units of the stated side.
        atol: absolute tolerance.
        cases: keyword arguments of the check, small ones first.
        full_cases: further, slower cases of ``verify --full``.
        exhaustive: whether the cases cover the whole statement; only then can it be proved.
        wrong: wrong variants, name → keyword arguments that replace those of a case.
        expected: ``holds`` or ``fails``.
        right: for a claim that fails, the keyword arguments under which the same check holds.
        corrected_by: for a claim that fails, the id of the corrected claim.
        assumptions: what the statement presumes.
    """

    id: str
    source: str
    kind: Kind
    check: Callable[..., Any]
    formula: str
    statement: str
    relation: Relation
    rtol: float = 0.0
    atol: float = 0.0
    cases: tuple[Mapping[str, Any], ...] = ({},)
    full_cases: tuple[Mapping[str, Any], ...] = ()
    exhaustive: bool = False
    wrong: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    expected: str = "holds"
    right: Mapping[str, Any] | None = None
    corrected_by: str = ""
    assumptions: tuple[str, ...] = ()

    def __post_init__(self):
        if self.id.count(".") != 1 or not self.statement or not self.source or not self.formula:
            raise ClaimError(f"claim {self.id!r} needs an id 'slug.name', a docstring, a source and a formula")
        if not self.wrong:
            raise ClaimError(f"claim {self.id} has no wrong variant; add one that its check refutes")
        if self.expected not in ("holds", "fails"):
            raise ClaimError(f"claim {self.id}: expected must be 'holds' or 'fails', got {self.expected!r}")
        if (self.expected == "fails") != bool(self.corrected_by) or (self.expected == "fails") != (
            self.right is not None
        ):
            raise ClaimError(
                f"claim {self.id}: `corrected_by` and `right` belong to claims that fail, and only to them"
            )
        if (self.relation is Relation.IDENTITY or self.relation.strict) and (self.rtol or self.atol):
            raise ClaimError(
                f"claim {self.id}: {self.relation} has no tolerance, got rtol {self.rtol}, atol {self.atol}"
            )
        known = signature(self.check).parameters
        variants = [*self.cases, *self.full_cases, *self.wrong.values(), self.right or {}]
        unknown = sorted({key for keywords in variants for key in keywords} - set(known))
        if unknown or not self.cases:
            raise ClaimError(f"claim {self.id}: its check has no argument {unknown}; known: {list(known)}")

    @property
    def tolerance(self) -> str:
        """The tolerance in words, empty when there is none."""
        parts = (f"{self.atol:g}" if self.atol else "", f"{self.rtol:g} relative" if self.rtol else "")
        return " + ".join(part for part in parts if part)

    @property
    def system(self) -> str:
        """Slug of the system the claim belongs to."""
        return self.id.split(".")[0]


REGISTRY: dict[str, Claim] = {}
"""Every claim registered so far, by id; `tailbound.theory.claims.load` fills it."""


def claim(claim_id: str, **attributes) -> Callable[[Callable], Callable]:
    """Register the decorated check as a claim; its docstring is the statement in words. See `Claim`."""

    def register(check: Callable) -> Callable:
        if claim_id in REGISTRY:
            raise ClaimError(f"claim {claim_id} is registered twice")
        system = check.__module__.partition(".claims.")[2].partition(".")[0]
        if system not in ("", claim_id.partition(".")[0]):
            raise ClaimError(f"claim {claim_id} stands among the claims of {system}; name it {system}.…, or move it")
        REGISTRY[claim_id] = unregistered(claim_id, check, **attributes)
        return check

    return register


def unregistered(claim_id: str, check: Callable, **attributes) -> Claim:
    """Make a claim of a check, its docstring the statement in words, without registering it."""
    attributes.setdefault("relation", Relation.IDENTITY)
    statement = " ".join(cleandoc(check.__doc__ or "").split())
    return Claim(id=claim_id, check=check, statement=statement, **attributes)


def decide(claim: Claim, *, variant: str = "", full: bool = False) -> Decision:
    """Decide a claim, or one of its variants.

    Args:
        claim: the claim.
        variant: name of a wrong variant, ``"right"`` for the correction of a failing claim, or empty.
        full: check the slow cases too.

    Raises:
        ClaimError: if the sides are NaN, empty or mismatched.
    """
    overrides = (
        {}
        if not variant
        else claim.right
        if variant == "right" and claim.right is not None
        else claim.wrong.get(variant)
    )
    if overrides is None:
        raise InputError(f"claim {claim.id} has no variant {variant!r}; it has {', '.join(claim.wrong)}")
    start = time.perf_counter()
    evidence: list[Evidence] = []
    for case in claim.cases + (claim.full_cases if full else ()):
        evidence.append(_decide_case(claim, {**case, **overrides}))
        if evidence[-1].verdict is Verdict.REFUTED:
            break
    return Decision(claim, _overall(claim, evidence), tuple(evidence), time.perf_counter() - start, variant)


def _overall(claim: Claim, evidence: list[Evidence]) -> Verdict:
    found = {e.verdict for e in evidence}
    for decisive in (Verdict.REFUTED, Verdict.UNSETTLED, Verdict.CONFIRMED):
        if decisive in found:
            return decisive
    return Verdict.PROVED if claim.exhaustive else Verdict.CONFIRMED


def _decide_case(claim: Claim, case: Mapping[str, Any]) -> Evidence:
    try:
        result = claim.check(**case)
    except ArithmeticError as error:  # an enclosure, a solver or a fixed point that could not decide
        return Evidence(case, Verdict.UNSETTLED, f"{type(error).__name__}: {error}")
    except InputError as error:
        raise InputError(f"claim {claim.id} in case {dict(case)}: {error}") from error
    if isinstance(result, Derivation):
        return _decide_derivation(case, result)
    sides = result if isinstance(result, Sides) else Sides(*result)
    return _decide_sides(claim, case, sides)


def _decide_derivation(case: Mapping[str, Any], derivation: Derivation) -> Evidence:
    outcomes = tuple(derivation.decide())
    last = derivation.steps[-1]
    for holds, verdict in ((False, Verdict.REFUTED), (None, Verdict.UNSETTLED)):
        failed = next((o for o in outcomes if o.holds is holds), None)
        if failed:
            figure = f"step '{failed.step.text}': {failed.reason}"
            return Evidence(case, verdict, figure, str(last.left), str(last.right), steps=outcomes)
    figure = f"{len(outcomes)} steps hold" if len(outcomes) > 1 else "the step holds"
    return Evidence(case, Verdict.PROVED, f"{figure} identically", str(last.left), str(last.right), steps=outcomes)


def _decide_sides(claim: Claim, case: Mapping[str, Any], sides: Sides) -> Evidence:
    """Compare entry by entry as intervals [low, high]; a float is an interval of width 0."""
    computed, stated = (
        _intervals(claim, sides.computed, "computed"),
        _intervals(claim, sides.stated, "stated"),
    )
    shapes = np.shape(np.asarray(sides.computed, dtype=object)), np.shape(np.asarray(sides.stated, dtype=object))
    if shapes[0] != shapes[1]:
        raise ClaimError(f"claim {claim.id} in case {case}: computed has shape {shapes[0]}, stated {shapes[1]}")
    widths = np.broadcast_to(np.asarray(sides.uncertainty, dtype=float), (len(computed),))
    if not (np.isfinite(widths).all() and (widths >= 0).all()):
        raise ClaimError(
            f"claim {claim.id} in case {case}: uncertainty must be finite and >= 0, got {sides.uncertainty}"
        )
    worst: tuple[Any, int] | None = None
    outcomes: set[bool | None] = set()
    for k, ((c_low, c_high), (s_low, s_high)) in enumerate(zip(computed, stated, strict=True)):
        if widths[k]:
            c_low, c_high = float(c_low) - widths[k], float(c_high) + widths[k]
        slack = (
            0
            if not (claim.rtol or claim.atol)
            else claim.atol + claim.rtol * max(abs(float(s_low)), abs(float(s_high)))
        )
        above, below = (c_high - s_low, c_low - s_high), (s_high - c_low, s_low - c_high)
        if claim.relation in (Relation.AT_MOST, Relation.LESS):
            largest, smallest = above
        elif claim.relation in (Relation.AT_LEAST, Relation.GREATER):
            largest, smallest = below
        else:
            largest, smallest = max(above[0], below[0]), max(above[1], below[1], 0 * above[1])
        if claim.relation.strict:
            outcome = True if largest < 0 else False if smallest >= 0 else None
        else:
            outcome = True if largest <= slack else False if smallest > slack else None
        outcomes.add(outcome)
        excess = float(largest) - float(slack)
        if worst is None or excess > worst[0]:
            worst = (excess, k)
    assert worst is not None
    exact = all(isinstance(side, _EXACT) for pair in (*computed, *stated) for side in pair) and not widths.any()
    rigorous = exact and not (claim.rtol or claim.atol)
    verdict = (
        Verdict.REFUTED if False in outcomes
        else Verdict.UNSETTLED if None in outcomes
        else Verdict.PROVED if rigorous
        else Verdict.CONFIRMED
    )  # fmt: skip
    k = worst[1]
    figure = f"{_pair(computed[k])} {claim.relation} {_pair(stated[k])}"
    if claim.relation in (Relation.EQUAL, Relation.IDENTITY):
        middle = [sum(map(float, pair)) / 2 for pair in (computed[k], stated[k])]
        figure += f", |difference| {abs(middle[0] - middle[1]):.2g}"
    if claim.rtol or claim.atol:
        figure += f" (tolerance {claim.tolerance})"
    if widths.any():
        figure += f", uncertainty {widths.max():.2g}"
    if verdict is Verdict.REFUTED:
        figure += " is false"
    return Evidence(case, verdict, figure, _text(sides.computed), _text(sides.stated), sides.note, excess=worst[0])


_EXACT = (int, Fraction)


def _intervals(claim: Claim, side: Any, name: str) -> list[tuple[Any, Any]]:
    """Flatten a side to (low, high) pairs: exact for rationals and enclosures (dyadic ends), floats otherwise."""
    entries = list(np.asarray(side, dtype=object).ravel()) if not _is_enclosure(side) else [side]
    if not entries:
        raise ClaimError(f"claim {claim.id}: its {name} side is empty")
    pairs = []
    for entry in entries:
        if _is_enclosure(entry):
            low, high = Fraction(entry.lower), Fraction(entry.upper)
        elif isinstance(entry, bool | np.bool_):
            raise ClaimError(f"claim {claim.id}: its {name} side is a truth value; return the two numbers compared")
        elif isinstance(entry, _EXACT):
            low = high = entry
        else:
            low = high = float(entry)
        if low != low or high != high or abs(low) == float("inf") or abs(high) == float("inf"):
            raise ClaimError(f"claim {claim.id}: its {name} side has a value that is not finite: {entry}")
        pairs.append((low, high))
    return pairs


def _is_enclosure(value: Any) -> bool:
    return hasattr(value, "lower") and hasattr(value, "upper") and not callable(getattr(value, "lower", None))


def _pair(pair: tuple[Any, Any]) -> str:
    low, high = pair
    return _text(low) if low == high else f"[{float(low):.10g}, {float(high):.10g}]"


def _text(value: Any) -> str:
    if isinstance(value, Fraction):
        return str(value) if value.denominator < 10**6 else f"{float(value):.10g}"
    if isinstance(value, float | np.floating):
        return f"{value:.8g}"
    if isinstance(value, np.ndarray | list | tuple):
        entries = [_text(v) for v in list(value)[:12]]
        return f"[{', '.join(entries)}{', …' if len(value) > 12 else ''}]"
    return str(value)
