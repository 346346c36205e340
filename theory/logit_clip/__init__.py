"""LogitClip: losses of logits whose norm is clipped; their exact ranges, what noise costs, and when it costs nothing.

Logits z of K classes are scaled down to ||z||_p <= τ (`max_norm`) before any softmax loss sees them. The clipped loss
is bounded for every example, and with it the harm a wrong label can do.

Notation: p = `norm` in [1, ∞], τ = `max_norm`, c_p the largest margin over the mean rival that a unit ball holds
(`contrast`), η_ij = P(noisy label j | true label i) the `transition` matrix, f* and f*_η the minimisers of the clipped
clean and noisy risk over all functions of x.

Source:
    Wei, Zhuang, Xie, Feng, Niu, An, Li (2023), "Mitigating Memorization of Noisy Labels by Clipping the Model
    Prediction", ICML 2023, arXiv:2212.04055. The exact ranges, gaps and thresholds are derived here.

The modules: `clip` (the operator and its loss), `ranges` (exact ranges), `noise` (bounds, gaps, thresholds),
`minimiser` (the best clipped logits of a label distribution) and `constants` (what a practitioner gets).
"""
