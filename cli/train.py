"""``tailbound train``: trains methods on long-tailed images; a killed run goes on from its checkpoint."""

import json
import signal
import sys
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from typing import Annotated, Any

import typer

from ..theory.core.errors import InputError
from .console import fail, open_console, progress_bar

__all__ = ["app", "train"]

app = typer.Typer()

_DIGITS_RATIO, _RATIO = 20.0, 100.0


@app.command(
    epilog="Examples:  tailbound train ldam-drw  ·  tailbound train ce ldam-drw vs --seed 0 --seed 1 --jobs 2  ·  "
    "tailbound train ldam-drw:exponent=0.5 --data cifar-10-batches-py --ratio 100 --protocol paper  ·  "
    "tailbound train --list"
)
def train(
    methods: Annotated[
        list[str] | None, typer.Argument(help="Methods; name:option=number sets an option of the loss.")
    ] = None,
    data: Annotated[
        str, typer.Option(help="digits (needs no file), or the folder of CIFAR, MNIST or Fashion-MNIST files.")
    ] = "digits",
    profile: Annotated[str, typer.Option(help="long-tailed, step or balanced.")] = "long-tailed",
    ratio: Annotated[
        float | None, typer.Option(help="Imbalance ratio n_max / n_min.", show_default="100; 20 for digits")
    ] = None,
    largest: Annotated[int | None, typer.Option(help="n_max.", show_default="the literature's")] = None,
    subset: Annotated[
        int | None, typer.Option(help="Seed of the long-tailed subset.", show_default="the literature's subset")
    ] = None,
    noise: Annotated[float, typer.Option(metavar="RATE", help="Symmetric label noise in training images.")] = 0.0,
    protocol: Annotated[
        str | None, typer.Option(help="paper, fast or digits.", show_default="fast; digits for digits")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a setting of the protocol.")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Seed; repeat for several.", show_default="0")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time, each with its share of the cores.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    mixed_precision: Annotated[bool, typer.Option(help="bfloat16 where the hardware computes in it.")] = True,
    compiled: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False,
    out: Annotated[str, typer.Option(metavar="FOLDER", help="Where records and checkpoints go.")] = "trained",
    keep_weights: Annotated[bool, typer.Option(help="Leave the last checkpoint beside the record.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Show the methods; train nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each run, in an array.")] = False,
) -> None:
    """Train methods on long-tailed images, one record a run. Records that are there are not made again."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise InputError("training needs torch; install 'tailbound[nn]'") from None
    from ..nn_validation.core.runs import Job

    if show:
        _show(as_json)
        return
    if not methods:
        raise InputError("train needs the names of methods; tailbound train --list shows them")
    small = data == "digits"
    settings: dict[str, Any] = {
        "source": data,
        "protocol": protocol or ("digits" if small else "fast"),
        "changes": _changes(change or []),
        "profile": profile,
        "imbalance_ratio": ratio if ratio is not None else _DIGITS_RATIO if small else _RATIO,
        "largest": largest,
        "subset_seed": subset,
        "noise_rate": noise,
        "mixed_precision": mixed_precision,
        "compiled": compiled,
        "out": out,
        "keep_weights": keep_weights,
    }
    asked = dict.fromkeys((number, each) for number in (seed or [0]) for each in methods)
    work = [Job(method=each, seed=number, **settings) for number, each in asked]
    for job in work:
        job.check(device)  # bad settings are told before anything is trained
    done: list[dict[str, Any]] = []
    try:
        with progress_bar("epochs") as progress, closing(_work_off(work, device, jobs, progress)) as results:
            for job, (path, record, new) in results:
                done.append(_summary(job, str(path), record, new))
                if not as_json:
                    print(_line(done[-1]), flush=True)
    except ArithmeticError as error:
        fail(str(error))
    except KeyboardInterrupt:
        print(
            f"tailbound: interrupted; checkpoints are in {out!r}, the same command goes on from there", file=sys.stderr
        )
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps(done, indent=1))


def _work_off(work: list, device: str, jobs: int, progress):
    """Run the jobs, several at a time where asked; yield each with its result."""
    from ..nn_validation.core.runs import run_job

    total = sum(job.run.protocol.epochs for job in work)
    if jobs == 1 or len(work) == 1:
        before = 0
        for job in work:
            base = before
            yield job, run_job(job, device=device, progress=lambda done, _, base=base: progress(base + done, total))
            before += job.run.protocol.epochs
            progress(before, total)
        return
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    epochs = context.Queue()
    counted: dict[int, int] = {}
    pool = ProcessPoolExecutor(min(jobs, len(work)), context, initializer=_start_worker, initargs=(epochs, jobs))
    try:
        heard = signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # workers are born deaf to Ctrl-C, which the parent answers
        try:
            running = {pool.submit(_run_in_worker, number, job, device): job for number, job in enumerate(work)}
        finally:
            signal.signal(signal.SIGINT, heard)
        while running:
            finished, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            while not epochs.empty():
                number, reached = epochs.get()
                counted[number] = reached
            progress(sum(counted.values()), total)
            for future in finished:
                job = running.pop(future)
                yield job, future.result()
    except BrokenProcessPool:
        raise InputError("a training process was killed, perhaps for memory; lower --jobs and run it again") from None
    finally:
        for process in list((pool._processes or {}).values()):  # a run is stopped by its end, nothing else
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


_epochs: Any = None


def _start_worker(epochs, jobs: int) -> None:
    """Leave Ctrl-C to the parent, end with it, take a share of the cores."""
    import os
    from multiprocessing import parent_process
    from multiprocessing.connection import wait
    from threading import Thread

    import torch

    def end_with_parent(parent) -> None:
        wait([parent.sentinel])
        os._exit(1)

    global _epochs
    _epochs = epochs
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=end_with_parent, args=(parent_process(),), daemon=True).start()
    torch.set_num_threads(min(torch.get_num_threads(), max(1, (os.cpu_count() or 1) // jobs)))


def _run_in_worker(number: int, job, device: str):
    from ..nn_validation.core.runs import run_job

    return run_job(job, device=device, progress=lambda done, total: _epochs.put((number, done)))


def _changes(settings: list[str]) -> dict[str, Any]:
    """Read ``name=value``: numbers, true and false, words; several numbers with commas, as for drops."""
    changes = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise InputError(f"--set takes NAME=VALUE, got {setting!r}")
        name = name.replace("-", "_")
        if name == "drops":
            changes[name] = tuple(_value(part) for part in text.split(",") if part)
        else:
            changes[name] = _value(text)
    return changes


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            pass
    return text


def _summary(job, path: str, record: dict[str, Any], new: bool) -> dict[str, Any]:
    last, selected = record["last"], record["selected"]
    return {
        "method": job.method,
        "data": record["data"]["name"],
        "seed": job.seed,
        "balanced_error": last["test"]["balanced_error"],
        "selected_epoch": selected["epoch"],
        "selected_error": selected["balanced_error"],
        "ece": last["test"]["ece"],
        "seconds": record["timing"]["seconds"],
        "new": new,
        "record": path,
    }


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['method']}, seed {row['seed']}: balanced test error {100 * row['balanced_error']:.2f} %, "
        f"{100 * row['selected_error']:.2f} % at epoch {row['selected_epoch']} (chosen on training images left out); "
        + (f"{row['seconds']:.0f} s" if row["new"] else "was there")
        + f"\n{row['record']}"
    )


def _show(as_json: bool) -> None:
    from ..nn_validation.methods import METHODS

    plain = [
        {"method": name, "title": each.title, "head": each.head, "options": each.options}
        for name, each in METHODS.items()
    ]
    if as_json:
        print(json.dumps(plain, indent=1))
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("method", "title", "head"):
        table.add_column(name, no_wrap=True)
    for each in plain:
        table.add_row(each["method"], each["title"], each["head"])
    open_console().print(table)
