"""The statements on VS-loss that simulations decide, by subject: machines, trained losses, margin ratios."""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f".{_module.name}", __name__)
