"""α-loss (Sypherd et al., 2022): one family from exponential loss over log-loss to the soft 0-1 loss.

Notation: α in (0, ∞] the order; u = 1 - 1/α <= 1 the exponent of the loss; p the probability given to the true label;
z = y f(x) the signed score, σ the sigmoid, s = σ(z); P^(α) the α-tilted distribution of P.

`losses` holds the loss of probabilities, logits and scores with its gradients; `calibration` what its minimisers are
and what its risk says about the error; `landscape` Lipschitz constants, convexity, saturation in α and the bounds made
of them; `mixtures` the loss on Gaussian mixtures with flipped labels; `constants` what a practitioner gets; and
`programs` the convex programs.
"""
