"""Claims decided by records: one claim for each data set that has them, so that each has a verdict of its own."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ...theory.core.claims import Kind, claim

__all__ = ["on_sets", "slug"]


def slug(folder: str) -> str:
    """The data set of a folder, as a part of a claim's name; with what is unusual: noise, equal counts, settings.

    Example:
        >>> slug("cifar-10/long-tailed-100/fast"), slug("digits/balanced-largest-100-noise-0.4/digits_padding=0")
        ('cifar_10', 'digits_noise_0_4_padding_0')
        >>> slug("digits/balanced-largest-100/digits")
        'digits_balanced'
    """
    data, profile, protocol = [*folder.split("/"), "", ""][:3]
    _, noisy, rate = profile.partition("-noise-")
    parts = [data, f"noise_{rate}" if noisy else "balanced" if profile.startswith("balanced") else ""]
    return re.sub(r"\W", "_", "_".join(part for part in [*parts, protocol.partition("_")[2]] if part))


def on_sets(
    claim_id: str,
    folders: Iterable[str],
    *,
    cases: Sequence[Mapping[str, Any]] = ({},),
    fails: Mapping[str, Mapping[str, Any]] | None = None,
    **attributes: Any,
) -> Callable[[Callable], Callable]:
    """Register the decorated check once for each folder, as ``<claim_id>_<data set>``.

    Args:
        claim_id: ``slug.name``.
        folders: passed to the check as ``folder``.
        cases: what else the check is given.
        fails: data sets on which the statement is false: `slug` → ``right`` and ``corrected_by`` (`Claim`).
        attributes: of `Claim`.
    """

    def register(check: Callable) -> Callable:
        for folder in dict.fromkeys(folders):
            expected = {"expected": "fails", **fails[slug(folder)]} if fails and slug(folder) in fails else {}
            claim(
                f"{claim_id}_{slug(folder)}",
                kind=Kind.NETWORK,
                cases=tuple({"folder": folder, **case} for case in cases),
                **attributes,
                **expected,
            )(check)
        return check

    return register
