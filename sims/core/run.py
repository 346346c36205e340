"""Runs a study: here, in processes of this machine, or on a Dask cluster, with the same results bit for bit.

Only the calling process writes to the store. Draws go out in random order, a fraction of a second's worth at a time,
and what another process has stored meanwhile is left out: two processes that run one study share its work.
"""

import asyncio
import json
import math
import random
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

from threadpoolctl import threadpool_limits

from ...theory.core.errors import InputError
from .store import Draw, Store, Task
from .study import Study, draw_rows

__all__ = ["Counts", "DrawError", "dask_cluster", "run"]

_SECONDS_A_TASK = 0.25
_LARGEST_TASK = 500
_PATIENCE = 10  # seconds to wait for a cluster to answer


class DrawError(RuntimeError):
    """A draw, or the process that made it, failed; the message names study, case and repetition. The rest is stored."""


class Counts(NamedTuple):
    """Draws of a study: how many are stored, and how many of those this run has added."""

    done: int
    new: int


def run(
    study: Study,
    store: Store,
    *,
    jobs: int = 1,
    backend: Executor | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Counts:
    """Draw what the store lacks of a study.

    A run that is interrupted or killed keeps what it has stored; the next one goes on from there, to the same results.

    Args:
        study: the study; with `until`, its repetitions grow as it says.
        store: where draws go, each as soon as it is there.
        jobs: processes that draw; 1 draws in this one. With a `backend`, the number of its workers.
        backend: an executor that draws instead, such as that of `dask_cluster`.
        progress: called with the number of draws stored and wanted.

    Raises:
        DrawError: if a draw fails; those that have succeeded are stored.
        InputError: if the store cannot be written.
    """
    done, pending = store.outstanding(study)
    new = 0
    while pending:
        total = done + len(pending)
        progress(done, total)
        with _executor(jobs) if backend is None else nullcontext(backend) as executor:
            in_flight = 1 if isinstance(executor, _Here) else 2 * jobs
            for added, skipped in _work_off(study, store, pending, executor, in_flight, withdraw=backend is not None):
                new += added
                done += added + skipped
                progress(min(done, total), total)
        done, pending = store.outstanding(study)
    return Counts(done, new)


@contextmanager
def dask_cluster(address: str) -> Iterator[tuple[Executor, int]]:
    """Connect to a Dask scheduler, such as ``tcp://host:8786``; yield an executor and the number of its threads.

    Raises:
        InputError: if Dask is not installed, nobody answers, or the cluster has no worker.
    """
    try:
        from distributed import Client
        from distributed.comm.core import connect
        from distributed.security import Security
    except ModuleNotFoundError:
        raise InputError("a Dask cluster needs the packages dask and distributed; install 'tailbound[dask]'") from None

    async def knock() -> None:
        comm = await connect(address, timeout=_PATIENCE, **Security().get_connection_args("client"))
        await comm.close()

    try:  # first, because a client that fails to connect leaves threads behind, whose clean-up can block another client
        with ThreadPoolExecutor(1) as apart:  # there may be an event loop in this thread
            apart.submit(lambda: asyncio.run(knock())).result()
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address!r} ({' '.join(str(error).split()) or type(error).__name__}); "
            "pass its address, such as tcp://host:8786"
        ) from None
    client = Client(address, timeout=_PATIENCE, set_as_default=False)
    with client:
        threads = sum(client.nthreads().values())  # pyright: ignore[reportAttributeAccessIssue]
        if not threads:
            raise InputError(f"the Dask cluster at {address!r} has no worker; start one with: dask worker {address}")
        yield client.get_executor(pure=False), threads


def _work_off(
    study: Study, store: Store, pending: list[Task], executor: Executor, in_flight: int, *, withdraw: bool
) -> Iterator[tuple[int, int]]:
    """Draw and store the pending tasks in random order; yield how many were added, and found stored, step by step.

    `withdraw` takes back what is not drawn when it ends early. Own processes are killed instead: loky's manager thread
    fails on a future that was cancelled meanwhile.
    """
    random.shuffle(pending)
    failure, running, size = "", {}, 1
    try:
        while (pending and not failure) or running:
            while pending and not failure and len(running) < in_flight:
                taken = [pending.pop() for _ in range(min(size, len(pending)))]
                task = store.lacking(study, taken)
                yield 0, len(taken) - len(task)
                if task:
                    running[executor.submit(_draw_in_worker, study.name, study.draw, task)] = len(task)
            finished = wait(running, return_when=FIRST_COMPLETED).done if running else set()
            draws: list[Draw] = []
            for future in finished:
                drawn, broken, seconds = future.result()
                asked, failure = running.pop(future), failure or broken
                draws += drawn
                fitting = _SECONDS_A_TASK * asked / max(seconds, 1e-9)
                size = int(max(1, min(fitting, 2 * size, _LARGEST_TASK, len(pending) // in_flight)))
            if draws:
                added = store.add(study, draws)
                yield added, len(draws) - added
    except InputError:
        raise
    except Exception as error:  # a worker was lost, or the draw cannot be sent to it
        failure = f"study {study.name!r} cannot go on: {type(error).__name__}: {error}"
    finally:
        if withdraw:
            for future in running:
                future.cancel()
    if failure:
        raise DrawError(f"{' '.join(failure.split())}; finished draws are stored, the same command goes on from there")


def _draw_in_worker(study: str, draw: Callable, tasks: list[Task]) -> tuple[list[Draw], str, float]:
    """Draw on one thread; return the draws, what broke (or nothing), and the seconds it took."""
    threadpool_limits(1)  # for good: a thread beside this one may be drawing too
    return _draw_tasks(study, draw, tasks)


def _draw_tasks(study: str, draw: Callable, tasks: list[Task]) -> tuple[list[Draw], str, float]:
    start, drawn = time.perf_counter(), []
    for case, repetition in tasks:
        try:
            record = json.dumps(draw_rows(study, draw, case, repetition), separators=(",", ":"))
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__}: {error} ({frame.filename}:{frame.lineno})"
            return drawn, f"study {study!r} failed in case {case}, repetition {repetition}: {what}", math.inf
        drawn.append((case, repetition, record))
    return drawn, "", time.perf_counter() - start


class _Here(Executor):
    """Draws at once, in this process."""

    def submit(self, fn, /, *args, **kwargs) -> Future:
        future = Future()
        with threadpool_limits(1):
            future.set_result(_draw_tasks(*args, **kwargs))
        return future


@contextmanager
def _executor(jobs: int) -> Iterator[Executor]:
    if jobs == 1:
        yield _Here()
        return
    from joblib.externals.loky import get_reusable_executor

    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    executor = get_reusable_executor(max_workers=jobs, initializer=_ignore_interrupt, env=one_thread)
    try:
        yield executor
    except BaseException:
        try:
            _let_manager_catch_up(executor)
        finally:
            executor.shutdown(wait=True, kill_workers=True)
        raise


def _let_manager_catch_up(executor: Executor) -> None:
    """Wait until loky's manager thread has taken all that was submitted; it fails on what it finds after a kill."""
    try:
        last = executor.submit(int)  # they are taken in order
    except RuntimeError:  # the pool is broken, its manager has ended
        return
    end = time.monotonic() + 1
    while not (last.running() or last.done()) and time.monotonic() < end:
        time.sleep(0.001)


def _ignore_interrupt() -> None:
    """Leave Ctrl-C, which a terminal sends to every process, to the parent."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
