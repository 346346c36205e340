"""VS-loss, its cost-sensitive and group-sensitive SVMs, and the sharp asymptotics of imbalanced Gaussian mixtures.

Source:
    Kini, Paraskevas, Oymak, Thrampoulidis (2021), "Label-Imbalanced and Group-Sensitive Classification under
    Overparameterization", NeurIPS 2021, arXiv:2103.01550; Lyu, Zhou, Zhong (2026), arXiv:2502.11323; Mignacco et al.
    (2020), arXiv:2002.11544; Loureiro et al. (2021), arXiv:2106.03791.

Conventions of every module: labels are +1 and -1 and +1 is the minority; component 0 of a binary mixture is +1;
`margin_ratio` δ is the required margin of the minority over that of the majority; `aspect_ratio` is d / n.
"""
