"""Claim 6: descent on the relaxed losses reaches the global basin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.stats import binomtest

from ..claims import Claim
from ..problems.rough import rough
from ..solvers.grid import Array
from .descend_paths import Descend, Descent, solver_descent
from .verify import Verify

APART = 0.02  # minima of the rough function are farther from each other
GAMMA, HJ_GAMMA = 0.15, 0.4


def discordant(better: Array, worse: Array) -> float:
    """One-sided exact p-value (McNemar) that `better` does not reach the basin more often than `worse`, paired."""
    gained, lost = int((better > worse).sum()), int((better < worse).sum())
    return float(binomtest(gained, gained + lost, alternative="greater").pvalue) if gained + lost else 1.0


def claims(settings: Verify) -> list[Claim]:
    """The rough function: what gradient descent on u does exactly, and what the optimizers make of it."""
    chosen = Descend(
        gamma=GAMMA, hj_gamma=HJ_GAMMA, temperature=1.0, inner_steps=100, starts=200, gradient_evaluations=8000,
        gradient_noise=3.0, basin_width=0.15, seed=settings.seed,
    )  # fmt: skip
    descent = Descent(rough(), chosen)
    return [*_solver_claims(descent), *_optimizer_claims(descent), _barrier_claim(descent)]


def _solver_claims(descent: Descent) -> list[Claim]:
    found = []
    for equation, time in (("viscous_hj", GAMMA), ("heat", GAMMA), ("hj", HJ_GAMMA)):
        share = float(solver_descent(descent, equation, time).mean())
        note = "u has one minimum at this time, and it lies in the basin: every start must reach it"
        said = f"descent on the solver's u, {equation} t={time:g}: share in the basin"
        found.append(Claim(6, said, share, lower=1.0, note=note))
    return found


def _optimizer_claims(descent: Descent) -> list[Claim]:
    sgd, found = descent.reached(descent.ends("sgd")), []
    for name in ("entropy_sgd", "heat"):
        hits = descent.reached(descent.ends(name))
        said = f"{name}: share in the basin {hits.mean():.3f}, SGD {sgd.mean():.3f}; p-value"
        note = f"exact paired test, 200 starts, 8000 gradients each, noise 3, seed {descent.settings.seed}"
        found.append(Claim(6, said, discordant(hits, sgd), 1e-4, note=note))
    return found


def _barrier_claim(descent: Descent) -> Claim:
    quiet = replace(descent, settings=replace(descent.settings, gradient_noise=0.0))
    moved = np.abs(quiet.ends("hj_proximal") - quiet.ends("sgd")) > APART
    note = f"ends {APART:g} apart; a noiseless chain lowers f(y) + |x-y|^2/(2 gamma) from y = x: no barrier is crossed"
    said = "hj_proximal without noise: share that ends in another minimum than gradient descent"
    return Claim(6, said, float(moved.mean()), 0.0, note=note)
