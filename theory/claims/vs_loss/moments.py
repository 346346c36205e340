"""The functions of the hard-margin limit as symbols: formulas in t, and opaque functions with known derivatives."""

from typing import Any

import sympy as sp

t = sp.Symbol("t", real=True)
DENSITY = sp.exp(-(t**2) / 2) / sp.sqrt(2 * sp.pi)
CDF = (1 + sp.erf(t / sp.sqrt(2))) / 2
FIRST = t * CDF + DENSITY
SECOND = (1 + t**2) * CDF + t * DENSITY


def _function(name: str, formula, derivative) -> Any:
    """A positive function whose derivative is known and whose formula serves for numbers only."""
    rules = {
        "fdiff": lambda self, argindex=1: derivative(self.args[0]),
        "_eval_evalf": lambda self, prec: formula.subs(t, self.args[0])._eval_evalf(prec),
        "_eval_is_positive": lambda self: True,
    }
    return type(name, (sp.Function,), rules)


phi = _function("phi", DENSITY, lambda x: -x * phi(x))
cdf = _function("Phi", CDF, lambda x: phi(x))
g1 = _function("g1", FIRST, lambda x: cdf(x))
g2 = _function("g2", SECOND, lambda x: 2 * g1(x))
