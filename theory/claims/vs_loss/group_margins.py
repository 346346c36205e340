"""Margins by group: what sets the group-sensitive SVM apart, and the ratio of equal opportunity."""

import numpy as np

from ...core.claims import Kind, Relation, Sides, cases, claim
from ...core.sources import cite
from ...vs_loss.asymptotics import equal_opportunity_ratio, hard_margin
from ...vs_loss.mixture import GaussianMixture

GROUPS = cases(norms=[(3.0, 2.0), (3.0, 3.0), (1.5, 2.5)], aspect_ratio=[0.8, 2.0])


@claim(
    "vs_loss.group_ratio_turns",
    source=cite("kini2021", "group-sensitive SVM"),
    kind=Kind.NUMERIC,
    formula="cos(ρ at δ = 1, ρ at δ = 3) <= 0.999 for groups",
    relation=Relation.AT_MOST,
    cases=GROUPS,
    wrong={"margins by class": {"by_class": True}},
    assumptions=("orthogonal group means, p = 0.1",),
)
def group_ratio_turns(norms, aspect_ratio, by_class=False):
    """A margin ratio between groups turns the classifier, while one between classes only moves its threshold."""
    mixture = GaussianMixture.groups(0.1, norms)
    required = (3, 1, 3, 1) if by_class else (3, 3, 1, 1)
    directions = [hard_margin(mixture, aspect_ratio, required=r).direction for r in ((1, 1, 1, 1), required)]
    first, second = (direction / np.linalg.norm(direction) for direction in directions)
    return first @ second, 0.999


@claim(
    "vs_loss.balanced_groups",
    source=cite("kini2021", "group-sensitive SVM"),
    kind=Kind.NUMERIC,
    formula="P(y = 1) = 1/2 and means y μ_g: b' = 0 and R_(+,g) = R_(-,g) = Q(ρ·μ_g)",
    relation=Relation.EQUAL,
    atol=1e-12,
    cases=GROUPS,
    wrong={"unequal classes": {"class_prior": 0.3}},
)
def balanced_groups(norms, aspect_ratio, class_prior=0.5):
    """With equal classes the two classes of a group have the same error and the intercept vanishes."""
    svm = hard_margin(GaussianMixture.groups(0.1, norms, class_prior=class_prior), aspect_ratio, required=(3, 3, 1, 1))
    return [svm.intercept, *svm.errors[[0, 2]]], [0.0, *svm.errors[[1, 3]]]


@claim(
    "vs_loss.equal_opportunity",
    source=cite("kini2021", "group-sensitive SVM"),
    kind=Kind.NUMERIC,
    formula="R_(+,1) = R_(+,2) at δ_0",
    relation=Relation.EQUAL,
    atol=1e-10,
    cases=cases(norms=[(3.0, 2.0), (3.0, 3.0)], aspect_ratio=[0.8, 2.0]),
    wrong={"1/δ_0": {"power": -1}, "equal margins": {"power": 0}},
)
def equal_opportunity(norms, aspect_ratio, power=1):
    """The library's ratio between groups gives class +1 the same error in both groups."""
    mixture = GaussianMixture.groups(0.1, norms)
    ratio = equal_opportunity_ratio(mixture, aspect_ratio) ** power
    errors = hard_margin(mixture, aspect_ratio, required=(ratio, ratio, 1, 1)).errors
    return errors[0], errors[2]


@claim(
    "vs_loss.equal_opportunity_grows",
    source=cite("kini2021", "group-sensitive SVM: δ_0 grows with d / n"),
    kind=Kind.NUMERIC,
    formula="δ_0(γ) increases in γ, p = 0.1, orthogonal means of norm 3",
    relation=Relation.AT_LEAST,
    expected="fails",
    corrected_by="vs_loss.equal_opportunity_grows_far",
    right={"aspect_ratios": (1.0, 2.0, 4.0)},
    wrong={"from 0.4 to 1": {"aspect_ratios": (0.4, 1.0)}},
)
def equal_opportunity_grows(aspect_ratios=(0.6, 1.0, 2.0)):
    """The ratio that equalises the groups' errors grows with the aspect ratio wherever the data are separable."""
    ratios = [equal_opportunity_ratio(GaussianMixture.groups(0.1, (3, 3)), a) for a in aspect_ratios]
    return ratios[1:], ratios[:-1]


@claim(
    "vs_loss.equal_opportunity_grows_far",
    source=cite("tailbound", "from Kini et al. (2021), group-sensitive SVM"),
    kind=Kind.NUMERIC,
    formula="δ_0(γ) increases for γ >= 1 and stays below (1 - p)/p, orthogonal means of the same norm >= 3",
    relation=Relation.AT_LEAST,
    cases=cases(norm=[3.0, 5.0], group_prior=[0.1, 0.2]),
    wrong={"from 0.4 on": {"aspect_ratios": (0.4, 0.6, 1.0), "norm": 3.0}, "norm 2": {"norm": 2.0}},
)
def equal_opportunity_grows_far(norm, group_prior, aspect_ratios=(1.0, 3.0, 10.0, 30.0)):
    """Far from the threshold, where it is infinite, the equalising ratio of groups grows up to (1 - p)/p."""
    mixture = GaussianMixture.groups(group_prior, (norm, norm))
    ratios = [equal_opportunity_ratio(mixture, a) for a in aspect_ratios]
    top = (1 - group_prior) / group_prior
    return Sides([*ratios[1:], top], ratios, note=f"δ_0 {np.round(ratios, 3).tolist()}")
