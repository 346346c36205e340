"""`CostSensitiveSVC`: the cost-sensitive support vector machine as a scikit-learn classifier."""

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any
from warnings import warn

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ..core.errors import InputError, nearest, require_positive
from ..core.fixed_point import NotConverged
from .ratio_estimate import estimate_margin_ratio
from .svm import NotSeparable, margin_ratio_path, solve_multiclass_svm, solve_svm

__all__ = ["KERNELS", "CostSensitiveSVC"]

KERNELS = ("linear", "rbf", "poly", "precomputed")


class CostSensitiveSVC(ClassifierMixin, BaseEstimator):
    """Support vector machine whose required margins differ between the classes; a hard margin unless C is given.

    Two classes: minimise ½‖w‖² subject to y_i f(x_i) >= r_c for the examples of class c, or with hinge terms
    C_i max(0, r_c - y_i f(x_i)). The minority is the class with fewer examples, `classes_[1]` on a tie. At margin ratio
    1 this is `sklearn.svm.SVC`; with a hard margin and an intercept other ratios move its threshold alone.

    K > 2 classes: minimise ½ Σ ‖w_c‖² subject to f_y(x_i) - f_c(x_i) >= r_y for every rival c, one hinge term for each
    (not SVC's one-vs-one).

    The default is a hard margin, for which margin ratios are meant: weights do nothing there, and only there can the
    ratio be estimated. Data that no classifier separates raise `NotSeparable`, which says so, and C cures it.

    Args:
        C: None (or infinity) for a hard margin, or a number > 0.
        kernel: ``linear``, ``rbf``, ``poly``, ``precomputed``, or a function of two arrays of rows that returns their
            Gram matrix, as in SVC.
        gamma: of ``rbf`` and ``poly``: a number > 0, ``scale`` for 1 / (d Var X), ``auto`` for 1 / d.
        degree: of ``poly``.
        coef0: of ``poly``.
        fit_intercept: whether the intercept is free; else 0.
        margin_ratio: required margin of the minority over that of the majority, which is 1; or the required margin of
            each class, ``{label: r}``; or ``auto``, estimated from the training data (hard margin, free intercept, two
            classes). More than two classes take 1.0 or a mapping.
        class_weight: None, ``balanced`` (n / (K n_c)) or ``{label: weight > 0}``, factors of C. A hard margin warns:
            its multipliers are unbounded, so weights do nothing.
        random_state: seed of the interval of an estimated ratio; None draws one. The ratio itself is not
            random.

    Attributes:
        classes_: labels, sorted, shape (K,).
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.
        support_: indices of the support vectors in the data of `fit`, shape (m,).
        support_vectors_: shape (m, d); empty for a precomputed kernel.
        dual_coef_: their coefficients in the scores, shape (1, m), or (K, m) for K > 2.
        coef_: w, shape (1, d) or (K, d); only for a linear kernel.
        intercept_: b, shape (1,) or (K,).
        required_margins_: r_c, shape (K,).
        margin_ratio_: the ratio used; only for two classes.
        certificate_: `SVMCertificate` of the solve; with a hard margin and an intercept that of margin ratio 1, whose
            relative gap every ratio inherits.
        ratio_estimate_: `RatioEstimate` of ``auto``, else None.

    Raises:
        InputError: by `fit`, for parameters out of range.
        NotSeparable: by `fit`, if no classifier meets hard margins; pass C.
        NotConverged: by `fit`, if nothing could be proved in float64.

    Source:
        Kini et al. (2021), arXiv:2103.01550 (CS-SVM); Lyu et al. (2026), arXiv:2502.11323, Proposition C.1 (ratios move
        the threshold); the estimate and K > 2 derived here.

    Example:
        >>> features = np.random.default_rng(0).standard_normal((200, 200))
        >>> labels = np.where(np.arange(200) < 20, "rare", "common")
        >>> features[labels == "rare", 0] += 4
        >>> machine = CostSensitiveSVC(margin_ratio="auto").fit(features, labels)
        >>> bool(machine.margin_ratio_ > 1), machine.ratio_estimate_.method
        (True, 'leave-one-out')
        >>> machine.predict(features[:1]), machine.classes_
        (array(['rare'], dtype='<U6'), array(['common', 'rare'], dtype='<U6'))
    """

    def __init__(
        self,
        C: float | None = None,
        *,
        kernel: str | Callable = "linear",
        gamma: float | str = "scale",
        degree: float = 3,
        coef0: float = 0.0,
        fit_intercept: bool = True,
        margin_ratio: float | Mapping[Any, float] | str = 1.0,
        class_weight: Mapping[Any, float] | str | None = None,
        random_state: Any = 0,
    ):
        self.C = C
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.fit_intercept = fit_intercept
        self.margin_ratio = margin_ratio
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None) -> "CostSensitiveSVC":
        """Solve for the machine.

        Args:
            X: features, shape (n, d), or the Gram matrix, shape (n, n), for a precomputed kernel.
            y: labels of at least two classes, shape (n,).
            sample_weight: w_i >= 0, factors of C, shape (n,). An example of weight 0 is dropped; any other weight does
                nothing to a hard margin. ``balanced`` and ``scale`` count rows, not weights, as in SVC.
        """
        self._check_parameters()
        for name in ("coef_", "margin_ratio_"):  # an earlier fit may have had them
            self.__dict__.pop(name, None)
        validated: Any = validate_data(self, X, y, dtype=np.float64)
        X, y = validated
        check_classification_targets(y)
        if self.kernel == "precomputed" and X.shape[0] != X.shape[1]:
            raise InputError(f"a precomputed kernel must be a square matrix, got shape {X.shape}")
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
        if (weights < 0).any():
            raise InputError(f"sample_weight must be >= 0, got {weights[weights < 0][:3].tolist()}; drop the examples")
        kept = np.flatnonzero(weights)
        self.classes_, codes = np.unique(y[kept], return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"y must have at least 2 classes, got {len(self.classes_)} class in {kept.size} examples")
        rows = X[kept]
        self._gamma = self._resolved_gamma(rows)
        translates = self.kernel == "rbf" or (self.kernel == "linear" and self.fit_intercept)
        self._centre = rows.mean(axis=0) if translates else 0.0  # a common offset would cost the Gram matrix digits
        gram = rows[:, kept] if self.kernel == "precomputed" else self._gram(rows, rows)
        upper = self._upper(weights[kept], codes)
        try:
            coefficients, intercept = self._solve(gram, codes, upper)
        except (NotSeparable, NotConverged) as error:
            if self._hard:
                error.add_note(
                    "CostSensitiveSVC asked for a hard margin (C=None): pass C, such as C=1.0, for a soft one"
                )
            raise
        used = np.flatnonzero((coefficients != 0).any(axis=0))
        self.support_ = kept[used]
        self.support_vectors_ = np.empty((0, 0)) if self.kernel == "precomputed" else rows[used]
        self.dual_coef_ = coefficients[:, used]
        self.intercept_ = intercept
        if self.kernel == "linear":
            self.coef_ = self.dual_coef_ @ (self.support_vectors_ - self._centre)
            if self.fit_intercept:
                self.intercept_ = intercept - self.coef_ @ self._centre
        return self

    def decision_function(self, X) -> np.ndarray:
        """Scores: of `classes_[1]` against `classes_[0]`, shape (n,), or of each of K > 2 classes, shape (n, K)."""
        check_is_fitted(self)
        validated: Any = validate_data(self, X, dtype=np.float64, reset=False)
        X = validated
        if self.kernel == "linear":
            scores = X @ self.coef_.T
        elif self.kernel == "precomputed":
            scores = X[:, self.support_] @ self.dual_coef_.T
        else:
            scores = self._gram(X, self.support_vectors_) @ self.dual_coef_.T
        scores = scores + self.intercept_
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X) -> np.ndarray:
        """Labels of the largest score, shape (n,)."""
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        tags.input_tags.sparse = False
        return tags

    @property
    def _hard(self) -> bool:
        return self.C is None or (isinstance(self.C, Real) and float(self.C) == np.inf)

    def _check_parameters(self) -> None:
        if not self._hard:
            _require_number(self.C, "C", "or None")
        if not callable(self.kernel) and self.kernel not in KERNELS:
            raise InputError(f"unknown kernel {self.kernel!r}; {nearest(str(self.kernel), KERNELS)}")
        if not (isinstance(self.gamma, str) and self.gamma in ("scale", "auto")):
            _require_number(self.gamma, "gamma", "'scale' or 'auto'")
        if isinstance(self.margin_ratio, str) and self.margin_ratio == "auto":
            if not self._hard or not self.fit_intercept:
                raise InputError(
                    "margin_ratio 'auto' is estimated for a hard margin with an intercept, got "
                    f"C={self.C!r}, fit_intercept={self.fit_intercept!r}; pass C=None, or a number as margin_ratio"
                )
        elif not isinstance(self.margin_ratio, Mapping):
            _require_number(self.margin_ratio, "margin_ratio", "a mapping or 'auto'")

    def _resolved_gamma(self, rows: np.ndarray) -> float:
        if self.gamma == "auto":
            return 1 / rows.shape[1]
        if self.gamma == "scale":
            variance = float(rows.var())
            return 1 / (rows.shape[1] * variance) if variance > 0 else 1.0
        return float(self.gamma)

    def _gram(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        if callable(self.kernel):
            gram = np.asarray(self.kernel(left, right), dtype=float)
            if gram.shape != (len(left), len(right)):
                raise InputError(f"kernel must return shape {(len(left), len(right))}, got {gram.shape}")
            return gram
        return pairwise_kernels(
            left - self._centre,
            right - self._centre,
            metric=self.kernel,
            filter_params=True,
            gamma=self._gamma,
            degree=self.degree,
            coef0=self.coef0,
        )

    def _upper(self, weights: np.ndarray, codes: np.ndarray) -> np.ndarray | None:
        """Bounds of the multipliers, None for a hard margin."""
        if self._hard:
            if self.class_weight is not None:
                warn(
                    "class_weight does nothing to a hard margin, whose multipliers are unbounded: the machine of "
                    "separable data stays the same; set margin_ratio instead, or pass C",
                    UserWarning,
                    stacklevel=3,
                )
            return None
        factors = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_[codes])
        require_positive(factors, "class_weight")
        return np.asarray(self.C) * weights * factors[codes]

    def _required(self, minority: int) -> np.ndarray:
        """Required margin of each class; 1 stands in for an estimate."""
        required = np.ones(len(self.classes_))
        if isinstance(self.margin_ratio, Mapping):
            labels = self.classes_.tolist()
            if set(self.margin_ratio) != set(labels):
                raise InputError(
                    f"margin_ratio must map each of the classes {labels[:5]} to its required margin, got "
                    f"{list(self.margin_ratio)[:5]}"
                )
            required = np.array([self.margin_ratio[label] for label in labels], dtype=float)
            require_positive(required, "margin_ratio")
        elif len(required) > 2:
            if self.margin_ratio != 1:
                raise InputError(
                    f"margin_ratio {self.margin_ratio!r} is for 2 classes, got {len(required)} classes; pass a mapping "
                    "from label to required margin"
                )
        elif self.margin_ratio != "auto":
            required[minority] = self.margin_ratio
        return required

    def _solve(self, gram: np.ndarray, codes: np.ndarray, upper: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients, shape (1, n) or (K, n), and intercepts; sets what was found on the way."""
        counts = np.bincount(codes)
        minority = int(counts[0] >= counts[1])
        required: Any = self._required(minority)
        self.required_margins_ = required
        self.ratio_estimate_ = None
        intercept = "free" if self.fit_intercept else "none"
        if len(counts) > 2:
            several = solve_multiclass_svm(gram, codes, required[codes], intercept=intercept, upper=upper)
            self.certificate_ = several.certificate
            return several.coefficients.T, several.intercept
        labels = np.where(codes == minority, 1, -1)
        sign = 1.0 if minority == 1 else -1.0
        if upper is not None or not self.fit_intercept:
            self.margin_ratio_ = float(required[minority] / required[1 - minority])
            found = solve_svm(gram, labels, required[codes], intercept=intercept, upper=upper)
            self.certificate_ = found.certificate
            return sign * found.coefficients[None], np.array([sign * found.intercept])
        plain = solve_svm(gram, labels)
        self.certificate_ = plain.certificate
        if self.margin_ratio == "auto":
            seed = int(check_random_state(self.random_state).randint(2**31 - 1))
            self.ratio_estimate_ = estimate_margin_ratio(gram, labels, plain, random_state=seed)
            required[minority] = self.ratio_estimate_.ratio
        self.margin_ratio_ = float(required[minority] / required[1 - minority])
        path = margin_ratio_path(plain, self.margin_ratio_)
        scale = sign * required[1 - minority]
        return scale * path.coefficients, scale * path.intercepts


def _require_number(value: Any, name: str, otherwise: str) -> None:
    if not isinstance(value, Real):
        raise InputError(f"{name} must be a number > 0, {otherwise}, got {value!r}")
    require_positive(value, name)
