"""The papers whose statements are checked, by key."""

from .errors import InputError, nearest

__all__ = ["PAPERS", "cite"]

PAPERS = {
    "arimoto1977": "Arimoto (1977), information measures and capacity of order α, Colloq. Math. Soc. János Bolyai 16",
    "bartlett2006": "Bartlett, Jordan and McAuliffe (2006), convexity, classification and risk bounds, JASA 101(473)",
    "behnia2023": "Behnia et al. (2023), CDT and LDT geometry, arXiv:2303.07608",
    "cao2019": "Cao et al. (2019), LDAM, arXiv:1906.07413v2",
    "cortes2025": "Cortes et al. (2025), IMMAX, arXiv:2502.10381",
    "cui2019": "Cui et al. (2019), class-balanced loss, CVPR",
    "deev1970": "Deev (1970), discriminant analysis in high dimension, Doklady AN SSSR 195(4)",
    "garcin2021": "Garcin et al. (2021), Pl@ntNet-300K, NeurIPS Datasets and Benchmarks",
    "hasegawa2025": "Hasegawa and Sato (2025), MLA, arXiv:2409.17582",
    "hazan2015": "Hazan, Levy and Shalev-Shwartz (2015), quasi-convex optimization, arXiv:1507.02030",
    "ji2021": "Ji and Telgarsky (2021), implicit bias by a primal-dual analysis, arXiv:1906.04540",
    "kini2021": "Kini et al. (2021), VS-loss, arXiv:2103.01550v3",
    "lorieul2021": "Lorieul, Joly and Shasha (2021), average-K against top-K, arXiv:2112.08851",
    "loureiro2021": "Loureiro et al. (2021), Gaussian mixtures in high dimensions, arXiv:2106.03791",
    "lyu2026": "Lyu, Zhou, Zhong (2026), imbalanced classification, arXiv:2502.11323",
    "menon2021": "Menon et al. (2021), logit adjustment, arXiv:2007.07314",
    "mignacco2020": "Mignacco et al. (2020), regularisation in Gaussian mixtures, arXiv:2002.11544",
    "sadinle2019": "Sadinle, Lei and Wasserman (2019), least ambiguous set-valued classifiers, JASA 114(525)",
    "shalev2014": "Shalev-Shwartz and Ben-David (2014), Understanding Machine Learning",
    "soudry2018": "Soudry et al. (2018), implicit bias of gradient descent, arXiv:1710.10345",
    "sypherd2022": "Sypherd et al. (2022), alpha-loss, arXiv:1906.02314",
    "tailbound": "derived here",
    "thrampoulidis2022": "Thrampoulidis et al. (2022), SELI, arXiv:2208.05512",
    "vapnik2000": "Vapnik and Chapelle (2000), bounds on error expectation for SVM, Neural Computation 12(9)",
    "wei2023": "Wei et al. (2023), LogitClip, arXiv:2212.04055v3",
    "zhang2018": "Zhang and Sabuncu (2018), generalised cross entropy, arXiv:1805.07836",
}


def cite(paper: str, where: str = "") -> str:
    """Return the source of a statement: the paper and its theorem, equation or section.

    Example:
        >>> cite("cao2019", "Theorem 2")
        'Cao et al. (2019), LDAM, arXiv:1906.07413v2, Theorem 2'
    """
    if paper not in PAPERS:
        raise InputError(f"unknown paper {paper!r}; {nearest(paper, PAPERS)}; new ones go into {__name__}.PAPERS")
    return ", ".join(part for part in (PAPERS[paper], where) if part)
