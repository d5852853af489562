"""Claim 2: the optimizers' mean directions are the gradients of the relaxed losses."""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2, norm

from ..claims import Claim
from ..losses import direction
from ..problems.closed_forms import chain_bias, chain_variance, fixed_point_factor
from ..problems.functions import quadratic
from ..solvers.grid import axis, observed_order
from . import directions_means as measured
from .directions_means import CHAINS
from .verify import Verify

CURVATURES = (1e-3, 0.01, 0.1, 1.0, 5.0)
CHANCE = 1e-4  # of a true claim to fail at another seed
ROUNDING = 1e-11  # relative: some hundred steps of a few roundings each
AUTHORS = {"gamma": 1e4, "inner_lr": 0.1, "averaging": 0.75, "inner_steps": 20}


def worst_score(count: int) -> float:
    """What the largest of `count` standard normal scores exceeds with probability CHANCE."""
    return float(norm.isf(CHANCE / (2 * count)))


def quadratic_claims(seed: int) -> list[Claim]:
    """Bias and variance of the finite inner loops (closed_forms.py), at the authors' values and others."""
    x = axis(-2.0, 3.0, 50)[None]
    bias, point = 0.0, 0.0
    for c in CURVATURES:
        d = direction(quadratic(1, c), "entropy_sgd", x, temperature=0.0, inner_momentum=0.0, **AUTHORS)
        expected = (1 - chain_bias(c, **AUTHORS)) * 1e4 * c / (1 + 1e4 * c) * x  # type: ignore[arg-type]
        bias = max(bias, float(np.abs(d / expected - 1).max()))
        p = direction(quadratic(1, c), "hj", x, gamma=1.2, averaging=0.75, inner_steps=20)
        point = max(point, float(np.abs(p / (fixed_point_factor(c, 1.2, 0.75, 20) * x) - 1).max()))
    n, c, keywords = 100_000, 1.0, {"gamma": 0.8, "inner_lr": 0.1, "averaging": 0.75, "inner_steps": 12}
    start = np.full((1, n), 0.9)
    d = direction(quadratic(1, c), "entropy_sgd", start, temperature=0.3, inner_momentum=0.0, seed=seed, **keywords)
    variance = chain_variance(c, temperature=0.3, **keywords)  # type: ignore[arg-type]
    departure = abs(float(d.var()) / variance - 1) / (2 / n) ** 0.5
    mean = (1 - chain_bias(c, **keywords)) * 0.8 * c / (1 + 0.8 * c) * 0.9  # type: ignore[arg-type]
    z = abs(float(d.mean()) - mean) / (variance / n) ** 0.5
    g = direction(quadratic(1, c), "heat", start, sigma=0.4, samples=1, seed=seed)
    heat = abs(float(g.mean()) - 0.9 * c) / (0.4 * c / n**0.5)
    score, note = worst_score(1), f"chance {CHANCE:g} to fail though true; {n} runs, seed {seed}"
    return [
        Claim(2, "quadratic, Entropy-SGD: d against (1 - q_L) gamma grad u, relative", bias, ROUNDING, note="rounding"),
        Claim(2, "quadratic, HJ fixed point: d against its closed form, relative", point, ROUNDING, note="rounding"),
        Claim(2, "quadratic, Entropy-SGD: mean of d, standard errors off (1 - q_L) gamma grad u", z, score, note=note),
        Claim(
            2, "quadratic, Entropy-SGD: variance of d, standard errors off its closed form", departure, score, note=note
        ),
        Claim(2, "quadratic, heat: mean of d, standard errors off grad f", heat, score, note=note),
    ]


def rough_claims(settings: Verify) -> list[Claim]:
    """The rough function, 50 points: Entropy-SGD against its exact finite chain, the chain against u; HJ; heat."""
    u, found, biases = measured.solver_gradient("viscous_hj"), [], []
    size, bound = float(np.sqrt((u**2).mean())), float(chi2.isf(CHANCE, len(u))) / len(u)
    for h, steps, times in CHAINS:
        runs = times * settings.chains // 2
        mean, exact = measured.entropy_sgd(runs, h, steps, settings.seed), measured.exact_chain(h, steps)
        biases.append(float(np.sqrt(((exact - u) ** 2).mean())))
        off = float((mean.scores(exact) ** 2).mean())
        name = f"rough, Entropy-SGD h={h:g} L={steps}"
        note = f"chi-squared, {runs} chains at 50 points, chance {CHANCE:g}; seed {settings.seed}"
        found.append(Claim(2, f"{name}: mean squared score off its exact chain", off, bound, note=note))
        error = float(np.sqrt(((mean.mean - u) ** 2).mean()))
        tolerance = biases[-1] + float(np.sqrt((mean.error**2).mean() * bound))
        note = "rms over 50 points over that of grad u: bias of the exact chain + sampling error, same chance"
        found.append(Claim(2, f"{name}: d/gamma off grad u", error / size, tolerance / size, note=note))
    order = observed_order([h for h, *_ in CHAINS], biases)
    said = f"rough, Entropy-SGD: order of the bias in h ({biases[0] / size:.3f} to {biases[-1] / size:.3f})"
    found.append(Claim(2, said, order, 1.25, 0.75, "Euler-Maruyama is of weak order 1"))
    return [*found, *_hj_claims(), _heat_claim(settings)]


def _hj_claims() -> list[Claim]:
    u, found = measured.solver_gradient("hj"), []
    first = float(np.abs(measured.fixed_point(1) - u).max())
    # the fixed point spends its first evaluation on the start, grad f(x); the proximal chain starts from d = 0
    for name, run, before, start in (
        ("hj", measured.fixed_point, 1, first),
        ("hj_proximal", measured.proximal, 0, float(np.abs(u).max())),
    ):
        rate = measured.contraction()[name]
        for steps in (10, 40):
            error = float(np.abs(run(steps) - u).max())
            bound = start * rate ** (steps - before) + 1e-9
            note = f"contraction {rate:g} per evaluation from {start:.3g}, 1e-9 for the prox of the solver"
            found.append(Claim(2, f"rough, {name} L={steps}: largest error of grad u", error, bound, note=note))
    return found


def _heat_claim(settings: Verify) -> Claim:
    mean = measured.heat_direction(10 * settings.chains, settings.seed)
    off = float((mean.scores(measured.solver_gradient("heat")) ** 2).mean())
    bound = float(chi2.isf(CHANCE, len(mean.mean))) / len(mean.mean)
    return Claim(2, "rough, heat: mean squared score of d off grad u", off, bound, note="chi-squared, 50 points")


def claims(settings: Verify) -> list[Claim]:
    """Quadratics, where all is known in closed form, and the rough function."""
    return [*quadratic_claims(settings.seed), *rough_claims(settings)]
