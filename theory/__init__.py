"""Deterministic mathematics: formulas, claims, convex programs, fixed points. Nothing here is random."""
