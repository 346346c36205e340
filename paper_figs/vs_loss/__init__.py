"""Figures of VS-loss, its cost- and group-sensitive SVMs, and the asymptotics of imbalanced Gaussian mixtures.

Source:
    Kini et al. (2021), arXiv:2103.01550; Lyu, Zhou, Zhong (2026), arXiv:2502.11323.
"""
