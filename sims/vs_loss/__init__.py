"""Simulations on Gaussian mixtures: cost- and group-sensitive SVMs, ridge losses, gradient descent, margin ratios.

Every error of a linear classifier is an exact normal tail; only training sets are drawn. Components are independent
draws from the priors, as in the theory, unless a study says that counts are fixed.
"""
