"""Average-K against top-K: sets of labels with the same budget, of one size or of one mean size.

Source:
    Lorieul, Joly, Shasha (2021), "Classification Under Ambiguity: When Is Average-K Better Than Top-K?",
    arXiv:2112.08851: the two rules, and that average-K is never worse. The formulas here are derived from those
    definitions.

The modules: `rules` (both rules, their least errors, the exact gain), `profiles` (closed forms), `regret` (what
estimated probabilities cost) and `calibration` (the threshold from scores of held-out inputs).
"""
