"""A small study for tests of the store and of what is exported from it."""

from pathlib import Path

from tailbound.sims.core.run import run
from tailbound.sims.core.store import Store
from tailbound.sims.core.study import Study, cases


def make_draw():
    """A draw that is sent to workers by value, since they cannot import this file."""

    def draw(rng, *, width, means=(1.0,)):
        sums = [2 * mean for mean in means]
        return {"value": width * rng.random(), "count": 3, "label": "x", "separable": True, "sums": sums}

    return draw


draw_uniform = make_draw()

UNIFORM = Study("toy.uniform", draw_uniform, cases(width=[1.0, 2.0], means=[(1.0,), (1.0, 2.0)]), repetitions=3)


def filled_store(path: Path) -> Path:
    """A store of all draws of the study."""
    with Store(path) as store:
        run(UNIFORM, store)
    return path
