"""LDAM with deferred re-weighting: margins, bounds, losses, weights, and what a cosine head can realise.

Source:
    Cao, Wei, Gaidon, Arechiga, Ma (2019), "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss",
    NeurIPS 2019, arXiv:1906.07413. Theorem and equation numbers are those of version 2.

The modules: `margins` (margin profiles and the optimum of each bound), `bounds` (the balanced-error bounds and their
low-order term), `losses` (LDAM, its hinge limit, gradients), `weights` (deferred re-weighting), `cosine` (margins and
scales a cosine head can realise) and `programs` (the convex programs that check all of it; imports cvxpy).
"""
