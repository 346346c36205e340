"""The methods for tables of numbers: `NetworkClassifier`, a small network as a scikit-learn classifier."""

from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from ..theory.core.class_counts import ClassCounts
from ..theory.core.errors import InputError, require_in, require_positive
from .core.heads import NormedLinear
from .core.model import seeded
from .methods import method

__all__ = ["NetworkClassifier"]


class NetworkClassifier(ClassifierMixin, BaseEstimator):
    """A multi-layer perceptron trained by a method of `methods.METHODS`; class counts are those of the labels.

    Standardise the features first (``make_pipeline(StandardScaler(), NetworkClassifier())``). Trained by Adam on the
    CPU, the learning rate annealed to 0 along a half cosine.

    Args:
        method: a name such as ``ldam-drw``, ``vs`` or ``ce``, with options as in ``ldam:exponent=0.5``.
        hidden_sizes: units of each hidden layer; () for a linear classifier.
        epochs: passes over the data, >= 2.
        batch_size: examples of a step.
        learning_rate: of Adam, at the start.
        weight_decay: of Adam, decoupled.
        random_state: seed of the start and of the batches; None draws one.

    Attributes:
        classes_: labels, sorted, shape (K,).
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.
        class_counts_: `ClassCounts` of the training labels.
        network_: the trained module; its logits are cosines for a method of LDAM's.
        objective_: the loss it was trained with.
        loss_curve_: mean loss of each epoch.

    Raises:
        InputError: by `fit`, for parameters out of range or a single class.

    Example:
        >>> features = np.random.default_rng(0).standard_normal((220, 2))
        >>> labels = np.repeat(["common", "rare"], [200, 20])
        >>> features[labels == "rare"] += 2
        >>> found = NetworkClassifier("la", epochs=20, random_state=0).fit(features, labels)
        >>> bool((found.predict(features[200:]) == "rare").mean() > 0.8), found.class_counts_.counts
        (True, (200, 20))
    """

    def __init__(
        self,
        method: str = "ldam-drw",
        *,
        hidden_sizes: Sequence[int] = (64,),
        epochs: int = 100,
        batch_size: int = 128,
        learning_rate: float = 0.01,
        weight_decay: float = 1e-4,
        random_state: Any = None,
    ):
        self.method = method
        self.hidden_sizes = hidden_sizes
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.random_state = random_state

    def fit(self, X, y) -> "NetworkClassifier":
        """Train on features (n, d) and labels (n,), numbers or strings; return self."""
        X, y = map(np.asarray, validate_data(self, X, y, dtype=np.float64))
        check_classification_targets(y)
        self._check()
        self.classes_, indices = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"y must have at least 2 classes, got 1 class, {self.classes_.tolist()}")
        counts = ClassCounts.from_labels(indices)
        chosen = method(self.method)
        seed = int(check_random_state(self.random_state).randint(2**31))
        features, labels = torch.tensor(X), torch.tensor(indices)
        with seeded(seed):
            network = self._network(X.shape[1], len(counts), chosen.head)
        objective = chosen.objective(counts).double()
        optimiser = torch.optim.AdamW(network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.epochs)
        chance, losses = torch.Generator().manual_seed(seed), []
        for epoch in range(self.epochs):
            order = chosen.start_epoch(objective, counts, labels, epoch, self.epochs, chance)
            total, hits, drawn = 0.0, np.zeros(len(counts)), np.zeros(len(counts))
            for batch in order.split(self.batch_size):
                inputs, targets = objective.mix(features[batch], labels[batch], chance)
                optimiser.zero_grad()
                logits = network(inputs)
                loss = objective(logits, targets)
                loss.backward()
                optimiser.step()
                total += float(loss.detach()) * len(batch)
                right = logits.detach().argmax(1) == labels[batch]
                hits += np.bincount(labels[batch][right], minlength=len(counts))
                drawn += np.bincount(labels[batch], minlength=len(counts))
            annealing.step()
            losses.append(total / len(labels))
            accuracy = [float(h / d) if d else None for h, d in zip(hits, drawn, strict=True)]
            objective.end_epoch({"epoch": epoch + 1, "loss": losses[-1], "train_accuracy": accuracy})
        self.class_counts_ = ClassCounts(counts.counts, tuple(str(name) for name in self.classes_.tolist()))
        self.network_, self.objective_, self.loss_curve_ = network.eval(), objective, losses
        return self

    def decision_function(self, X) -> np.ndarray:
        """Scores at test time: log-odds of `classes_[1]`, shape (n,), for two classes; logits (n, K) for more."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict_proba(self, X) -> np.ndarray:
        """Softmax of the scores, shape (n, K). Losses that adjust for the class counts do not give calibrated ones."""
        return torch.softmax(torch.from_numpy(self._scores(X)), 1).numpy()

    def predict(self, X) -> np.ndarray:
        """Labels, shape (n,)."""
        best = self._scores(X).argmax(axis=1)
        return self.classes_[best]

    def _scores(self, X) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        with torch.no_grad():
            return self.objective_.probability_logits(self.network_(torch.tensor(X))).numpy()

    def _network(self, num_features: int, num_classes: int, head: str) -> nn.Sequential:
        sizes, layers = [num_features, *self.hidden_sizes], []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        last = NormedLinear if head == "cosine" else nn.Linear
        return nn.Sequential(*layers, last(sizes[-1], num_classes)).double()

    def _check(self) -> None:
        require_positive(self.learning_rate, "learning_rate")
        require_in(self.weight_decay, "weight_decay", 0, 1e6)
        for name, values, low in (
            ("epochs", [self.epochs], 2),
            ("batch_size", [self.batch_size], 1),
            ("hidden_sizes", list(self.hidden_sizes), 1),
        ):
            if not all(isinstance(value, Integral) and value >= low for value in values):
                raise InputError(f"{name} must be whole and >= {low}, got {getattr(self, name)!r}")
