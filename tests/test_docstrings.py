"""The examples in the docstrings run, and every public name is documented."""

import doctest
import inspect
from importlib import import_module
from pkgutil import walk_packages

import pytest
import tailbound

MODULES = [
    "tailbound",
    *(
        module.name
        for module in walk_packages(tailbound.__path__, "tailbound.", onerror=lambda name: None)
        if module.name.split(".")[1] in ("cli", "theory", "sims", "nn_validation", "paper_figs")
    ),
]


def load(name: str):
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != "torch":  # an extra; all other dependencies are installed with the package
            raise
        pytest.skip("torch is not installed")


def test_the_walk_finds_every_layer():
    assert {name.split(".")[1] for name in MODULES[1:]} == {"cli", "theory", "sims", "nn_validation", "paper_figs"}
    assert {"tailbound.theory.core.claims", "tailbound.theory.claims.vs_loss"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    results = doctest.testmod(load(name))
    assert results.failed == 0, f"{results.failed} of {results.attempted} examples fail; their output is above"


def test_the_vocabulary_has_examples():
    examples = doctest.DocTestFinder().find(import_module("tailbound.theory.core.class_counts"))
    assert sum(len(test.examples) for test in examples) >= 5


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_documented(name):
    module = load(name)
    assert module.__doc__
    public = [getattr(module, each) for each in getattr(module, "__all__", ())]
    described = [each for each in public if inspect.isroutine(each) or inspect.isclass(each)]
    missing = [each.__qualname__ for each in described if not inspect.getdoc(each)]
    missing += [
        f"{owner.__qualname__}.{key}"
        for owner in filter(inspect.isclass, described)
        if owner.__module__ == module.__name__
        for key, value in vars(owner).items()
        if not key.startswith("_")
        and (inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod))
        and not inspect.getdoc(getattr(owner, key))
    ]
    assert not missing
