"""The ledger: every statement, one module for each system, and the functions that decide them.

Claims that need random draws or training live in the layers above (`sims.claims`, `nn_validation.claims`). Those are
looked up by name and only if they are installed, so that this layer imports nothing above it.

Example:
    >>> decision, = verify("ldam.binary_split")
    >>> str(decision.verdict), decision.as_expected
    ('proved', True)
"""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules

from ..core.claims import REGISTRY, Claim, Decision, Verdict, decide
from ..core.errors import InputError, nearest

__all__ = ["falsify", "iter_decisions", "load", "select", "systems", "verify"]


_ROOT = __name__.split(".")[0]
_LAYERS = ("theory", "sims", "nn_validation")


def _modules() -> dict[str, list[str]]:
    """Full names of the claim modules of each system, over all layers."""
    found: dict[str, list[str]] = {}
    for layer in _LAYERS:
        spec = find_spec(f"{_ROOT}.{layer}.claims") if find_spec(f"{_ROOT}.{layer}") else None
        for module in iter_modules(spec.submodule_search_locations if spec else []):
            found.setdefault(module.name, []).append(f"{_ROOT}.{layer}.claims.{module.name}")
    return found


def systems() -> list[str]:
    """Slugs of the systems that have claims, in alphabetical order."""
    return sorted(_modules())


def load(system: str | None = None) -> dict[str, Claim]:
    """Import the claims of one system, or of all, and return the registry."""
    for name, modules in sorted(_modules().items()):
        if system in (None, name):
            for module in modules:
                import_module(module)
    return REGISTRY


def select(*patterns: str) -> list[Claim]:
    """Claims that match any pattern: a system, an id, or a glob such as ``ldam.joint_*``; all when none is given.

    Raises:
        InputError: for a pattern that matches nothing, with the nearest names.
    """
    named = {pattern.split(".")[0] for pattern in patterns}
    if patterns and named <= set(systems()):
        claims = [claim for system in sorted(named) for claim in load(system).values() if claim.system == system]
    else:
        claims = sorted(load().values(), key=lambda claim: claim.system)
    if not patterns:
        return claims
    chosen: dict[str, Claim] = {}
    for pattern in patterns:
        matching = {c.id: c for c in claims if pattern == c.system or fnmatchcase(c.id, pattern)}
        if not matching:
            known = {claim.id for claim in claims} if "." in pattern else systems()
            raise InputError(f"no claim matches {pattern!r}; {nearest(pattern, known)}")
        chosen |= matching
    return list(chosen.values())


def iter_decisions(claims: Sequence[Claim], *, full: bool = False) -> Iterator[Decision]:
    """Decide claims one after the other."""
    for claim in claims:
        yield decide(claim, full=full)


def verify(*patterns: str, full: bool = False) -> list[Decision]:
    """Decide the claims that match `patterns` (see `select`).

    Args:
        patterns: systems, ids or globs; all claims when none is given.
        full: the slow cases too.
    """
    return list(iter_decisions(select(*patterns), full=full))


def falsify(claim: Claim) -> list[tuple[Decision, bool]]:
    """Decide every wrong variant of a claim, and the correction of one that fails.

    Returns:
        Pairs of a decision and whether it came out as it must: refuted for a wrong variant, holding for a correction.
    """
    results = [
        (decision, decision.verdict is Verdict.REFUTED) for decision in (decide(claim, variant=v) for v in claim.wrong)
    ]
    if claim.right is not None:
        decision = decide(claim, variant="right")
        results.append((decision, decision.verdict.holds))
    return results
