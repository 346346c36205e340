"""``tailbound derive``: constants from class counts, or from features with labels."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ..theory.core.errors import InputError, nearest
from .console import open_console, styled

__all__ = ["app", "derive"]

app = typer.Typer()
_SHOWN_CLASSES = 12
_LONGEST_INT = 300  # digits; float() reads more of them faster, and int() refuses 4300


@app.command(
    context_settings={"ignore_unknown_options": True},
    epilog="Examples:  tailbound derive 5000 500 50  ·  tailbound derive counts.csv  ·  "
    "tailbound derive labels.npy --json  ·  tailbound derive cifar-10-batches-py --long-tailed 100  ·  "
    "tailbound derive --long-tailed 100 --classes 10 --largest 5000 --snippet  ·  "
    "tailbound derive --features features.parquet --label kind --save machine.npz",
)
def derive(
    source: Annotated[
        list[str] | None,
        typer.Argument(
            help="Counts (5000 500 50 or cat=900 dog=90), a CSV/JSON/parquet/npy file, or a dataset folder."
        ),
    ] = None,
    long_tailed: Annotated[
        float | None, typer.Option(metavar="RATIO", help="Long-tailed profile of the source.")
    ] = None,
    step: Annotated[float | None, typer.Option(metavar="RATIO", help="Step profile of the source.")] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes of a profile without a source.")] = None,
    largest: Annotated[int | None, typer.Option(help="Largest class of a profile without a source.")] = None,
    counts: Annotated[bool, typer.Option("--counts", help="The file holds counts.")] = False,
    labels: Annotated[bool, typer.Option("--labels", help="The file holds labels.")] = False,
    column: Annotated[str | None, typer.Option(help="Column of a CSV or parquet file.")] = None,
    drop_empty: Annotated[bool, typer.Option("--drop-empty", help="Leave out classes without examples.")] = False,
    max_margin: Annotated[float, typer.Option(help="The rarest class's margin, in cosine units.")] = 0.5,
    epochs: Annotated[int, typer.Option(help="Length of the training.")] = 200,
    probability: Annotated[float, typer.Option(help="Probability the cosine head must be able to reach.")] = 0.99,
    test_priors: Annotated[str | None, typer.Option(metavar="P1,P2,…", help="Test priors, if not balanced.")] = None,
    noise_rate: Annotated[
        float | None, typer.Option(metavar="RATE", help="Rate of symmetric label noise: alpha-loss and LogitClip too.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(metavar="FILE.npy", help="Instead of counts: held-out class probabilities, (N, C).")
    ] = None,
    set_size: Annotated[
        float | None, typer.Option(metavar="K", help="With --scores: labels a set holds in the mean.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="Instead of counts: features and labels, an npz (X, y) or parquet file.")
    ] = None,
    label: Annotated[str | None, typer.Option(metavar="NAME", help="Label column of the features.")] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Save the machines fitted to the features.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    snippet: Annotated[bool, typer.Option("--snippet", help="Torch code that builds the loss.")] = False,
    loss: Annotated[str, typer.Option(help="Loss of the snippet: ldam, la, cdt or vs.")] = "ldam",
) -> None:
    """Derive margins, scales, shifts, weights and a schedule from class counts, each with its reason and its claim.

    With --features, derive the best margin ratio of a cost-sensitive SVM, the errors to expect and the machine itself.
    """
    from ..theory.constants import derive as derive_constants

    if scores is not None or set_size is not None:
        others = (features, noise_rate, test_priors, long_tailed, step, classes, largest, column, label, save)
        if scores is None or set_size is None or source or snippet or any(option is not None for option in others):
            raise InputError(
                "--scores and --set-size go together and take the place of class counts and what is derived from them; "
                "pass those two, and --json if wanted"
            )
        _derive_sets(scores, set_size, as_json)
        return
    if features is not None:
        if source or snippet or any(option is not None for option in (long_tailed, step, classes, largest)):
            raise InputError("--features takes the place of class counts, profiles and snippets; leave those out")
        from .derive_features import derive_features

        derive_features(features, label, save, as_json)
        return
    if label is not None or save is not None:
        raise InputError("--label and --save belong to --features; name the file of the features")
    if snippet and as_json:
        raise InputError("derive prints JSON or a snippet, got both --json and --snippet; keep one")
    meaning = _meaning(counts, labels)
    class_counts = _class_counts(source or [], meaning, column, drop_empty, (classes, largest), long_tailed, step)
    priors = (
        None
        if test_priors is None
        else [_number(token, "test_priors", "pass one for each class, as 0.7,0.3") for token in test_priors.split(",")]
    )
    constants = derive_constants(
        class_counts,
        max_margin=max_margin,
        epochs=epochs,
        probability=probability,
        test_priors=priors,
        noise_rate=noise_rate,
    )
    if snippet:
        print(constants.snippet(loss), end="")
    elif as_json:
        print(json.dumps(constants.to_dict()))
    else:
        _print_constants(constants)


def _derive_sets(path: Path, set_size: float, as_json: bool) -> None:
    import numpy as np

    from ..theory.constants import derive_sets

    try:
        scores = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "is no npy file of numbers"
        raise InputError(f"{path}: cannot be read ({reason}); save the scores with numpy.save") from None
    constants = derive_sets(scores, set_size)
    if as_json:
        print(json.dumps({c.name: {k: v for k, v in c.to_dict().items() if k != "name"} for c in constants}))
    else:
        _print_reasons(open_console(), constants)


def _meaning(counts: bool, labels: bool):
    if counts and labels:
        raise InputError("a file holds counts or labels, got both --counts and --labels; keep one")
    return "counts" if counts else "labels" if labels else None


def _class_counts(source: list[str], meaning, column, drop_empty: bool, size: tuple, long_tailed, step):
    from ..theory.core.class_counts import ClassCounts

    options = [token for token in source if token.startswith("--")]
    if options:
        known = [o for p in typer.main.get_command(app).params for o in p.opts if o.startswith("--")]
        raise InputError(f"unknown option {options[0]}; {nearest(options[0], known)}")
    if long_tailed is not None and step is not None:
        raise InputError("a profile is long-tailed or step, got both --long-tailed and --step; keep one")
    classes, largest = size
    if not source:
        if classes is None or largest is None or (long_tailed is None and step is None):
            raise InputError(
                "derive needs class counts: numbers, a file or a folder; "
                "or a profile: --long-tailed RATIO (or --step RATIO) with --classes K and --largest N"
            )
        available = None
    else:
        if classes is not None or largest is not None:
            raise InputError(
                "--classes and --largest describe a profile without a source; leave them or the source out"
            )
        available = _read_source(source, meaning, column, drop_empty)
        if long_tailed is None and step is None:
            return available
        classes, largest = len(available), available.total // len(available)
    profile, ratio = (ClassCounts.step, step) if step is not None else (ClassCounts.long_tailed, long_tailed)
    subset = profile(ratio or 0.0, num_classes=classes, largest=largest)
    if available is None:
        return subset
    for name, have, want in zip(available.names, available.counts, subset.counts, strict=True):
        if want > have:
            raise InputError(
                f"the profile takes {want} examples of class {name}, but the source has {have}; balance it first"
            )
    return ClassCounts(subset.counts, available.names)


def _read_source(source: list[str], meaning, column, drop_empty: bool):
    from ..theory.core.class_counts import ClassCounts

    if not all(word.strip() for word in source):
        raise InputError("class counts, a file or a folder must be named, got ''; leave empty arguments out")
    tokens = source if os.path.exists(source[0]) else [part for word in source for part in word.split(",") if part]
    if all("=" in token for token in tokens):
        pairs = [[part.strip() for part in token.rsplit("=", 1)] for token in tokens]
        values = [_number(value, f"count of class {name!r}") for name, value in pairs]
        return ClassCounts.from_any(_named(pairs, values), drop_empty=drop_empty)
    if len(source) == 1 and not _is_number(tokens[0]):
        return _read_path(Path(source[0]), meaning, column, drop_empty)
    return ClassCounts.from_any([_number(token, "class_counts") for token in tokens], drop_empty=drop_empty)


def _named(pairs: list[list[str]], values: list) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if "" in names:
        raise InputError(f"class names must not be empty, got '={pairs[names.index('')][1]}'; write name=count")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"class names must differ, but {twice[0]!r} occurs more than once; merge its counts")
    return dict(zip(names, values, strict=True))


def _read_path(path: Path, meaning, column, drop_empty: bool):
    if os.path.isdir(path):
        from ..nn_validation.core.datasets import class_counts

        return class_counts(path, drop_empty=drop_empty)
    from ..theory.core.count_files import read_counts

    return read_counts(path, meaning=meaning, column=column, drop_empty=drop_empty)


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _number(token: str, name: str, remedy: str = "pass counts, one file, or one dataset folder") -> int | float:
    if not _is_number(token):
        raise InputError(f"{name} must be a number, got {token!r}; {remedy}")
    digits = token.strip().lstrip("+-")
    return int(token) if digits.isdigit() and len(digits) < _LONGEST_INT else float(token)


def _print_constants(constants) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    console, counts = open_console(), constants.class_counts
    console.print(
        f"{len(counts)} classes, {counts.total} examples, imbalance ratio {counts.imbalance_ratio:.6g}", highlight=False
    )
    vectors = [c for c in constants if hasattr(c.value, "shape")]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="By class", title_justify="left", title_style="bold")
    shown = list(range(len(counts)))
    if len(shown) > _SHOWN_CLASSES:
        shown = shown[: _SHOWN_CLASSES // 2] + shown[-_SHOWN_CLASSES // 2 :]
    table.add_column("constant", no_wrap=True)
    for k in shown:
        table.add_column(escape(counts.names[k]), justify="right", overflow="fold")
    table.add_row("count", *(str(counts.counts[k]) for k in shown), end_section=True)
    for c in vectors:
        table.add_row(c.name, *(f"{c.value[k]:.4g}" for k in shown))
    console.print(table)
    if len(counts) > len(shown):
        console.print(f"({len(counts) - len(shown)} classes between left out; --json has them all)", highlight=False)
    _print_reasons(console, constants)
    for note in constants.notes:
        console.print(f"Note: {escape(note)}", highlight=False)


def _print_reasons(console, constants) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Why", title_justify="left", title_style="bold")
    for name in ("constant", "value", "range", "formula and reason", "rests on"):
        table.add_column(name, overflow="fold", no_wrap=name == "constant")
    for c in constants:
        value = "by class" if hasattr(c.value, "shape") else f"{c.value:.5g}"
        ends = ("" if end is None else f"{end:.4g}" for end in (c.low, c.high))
        span = "" if c.low is None and c.high is None else " … ".join(ends).strip()
        why = escape(f"{c.formula}\n{c.reason}" + (f"\nrange: {c.range_reason}" if c.range_reason else ""))
        table.add_row(c.name, value, span, why, f"{c.origin}\n{c.claim}\n{styled(c.verdict)}", end_section=True)
    console.print(table)
