"""tailbound: the theory of learning from imbalanced classes, decided by computation.

Public names load on first use, so ``import tailbound`` costs nothing.

Example:
    >>> import tailbound
    >>> tailbound.derive({"cat": 900, "dog": 90, "owl": 9})["ldam.margins"].value.round(3)
    array([0.158, 0.281, 0.5  ])
"""

# pyright: reportUnsupportedDunderAll=false

__version__ = "0.1.0"

__all__ = ["ClassCounts", "CostSensitiveSVC", "LDAMLoss", "NetworkClassifier", "NormedLinear", "VSLoss"]
__all__ += ["__version__", "derive", "falsify", "verify"]

_HOME = {
    "ClassCounts": ".theory.core.class_counts",
    "CostSensitiveSVC": ".theory.vs_loss.estimator",
    "LDAMLoss": ".nn_validation.ldam",
    "NetworkClassifier": ".nn_validation.estimator",
    "NormedLinear": ".nn_validation.core.heads",
    "VSLoss": ".nn_validation.vs_loss.losses",
    "derive": ".theory.constants",
    "falsify": ".theory.claims",
    "verify": ".theory.claims",
}


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'tailbound' has no attribute {name!r}; it has {', '.join(__all__)}")
    from importlib import import_module

    return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
