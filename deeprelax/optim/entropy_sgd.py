"""Entropy-SGD: descent on local entropy, the solution of the viscous Hamilton-Jacobi equation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .fused import fused_adamw_
from .hyperparameters import given, resolved, stiffness
from .outer import adamw_
from .relaxation import Relaxation
from .scratch import Block, copy_, host_knows
from .state import chain_counts, chain_state, chain_steps


class EntropySGD(Relaxation):
    """Descent on u(x, gamma), where u_t = -1/2 |grad u|^2 + temperature/2 lap u and u(x, 0) = f(x).

    u is the local entropy -temperature log(G * exp(-f/temperature))(x), G a Gaussian of variance gamma temperature,
    and grad u = (x - <y>)/gamma with y ~ exp(-(f(y) + |x - y|^2/(2 gamma))/temperature). An inner chain of Langevin
    dynamics (`spring_chain`) estimates <y> by mu; d = x - mu, so lr = 1 without momentum jumps to the average.

    Source: arXiv 1704.04932, sections 2 and 5; arXiv 1611.01838, algorithm 1.
    Differs from the papers: the noise is sqrt(2 inner_lr temperature), as in the authors' code, where the temperature
    is eps^2; the printed algorithm has a factor sqrt(2) less. gamma is the inverse of arXiv 1611.01838's. AdamW, as the
    outer or the inner rule, is not in them.

    Args:
        params: parameters, or groups of them, as for every torch optimizer.
        lr: outer learning rate on d = x - mu, by default 1; with Nesterov momentum 0.9 keep it under 1.09. By default
            1e-3 for outer="adamw", whose steps do not depend on the scale of d.
        gamma: time of the equation: the larger the smoother. The spring is (y - x)/gamma.
        inner_steps: L, closure calls of one step.
        inner_lr: step size h of the inner chain, by default 0.1; 1e-3 for inner="adamw".
        temperature: 1/beta, the viscosity, by default 1e-8; 0 draws no noise. Exact only with inner_momentum = 0. With
            inner="adamw" it is 0: a chain whose steps are scaled by its own past samples no Gibbs measure.
        averaging: the share a that mu keeps at each inner step, mu <- a mu + (1-a) y.
        momentum: of the outer update, by default 0.
        nesterov: Nesterov's look-ahead in the outer update; without effect at momentum 0.
        inner_momentum: Nesterov momentum of the inner chain, of inner="momentum".
        weight_decay: coefficient c of c/2 |y|^2 in the loss.
        scoping: gamma_k = gamma/(1 + scoping)^k after k outer steps.
        seed: of the Langevin noise.
        outer: the outer rule, "momentum" (torch.optim.SGD's) or "adamw" (torch.optim.AdamW's, of d).
        betas, eps: of outer="adamw".
        decoupled_weight_decay: c of (1 - rate c) times the weights at each step of the inner rule if that is "adamw",
            else of the outer rule. Excludes weight_decay.
        inner: the chain's rule, "momentum" or "adamw"; the moments see the spring too, which leaves its fixed point.
        inner_betas, inner_eps: of inner="adamw".
        inner_state: what becomes of the chain's velocity or moments at the end of an outer step: "reset", by default
            for momentum, or "keep", by default for adamw: they are then in the optimizer's state.
        closure_calls: "all", or "once": a step with a closure takes one gradient of the outer step, as a call without
            one does. For closures that repeat one batch, as Lightning's automatic optimization and skorch give.
    """

    evaluations_key = "inner_steps"
    same_each_step = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | None = None,
        gamma: float = 1e4,
        inner_steps: int = 20,
        inner_lr: float | None = None,
        temperature: float | None = None,
        averaging: float = 0.75,
        momentum: float | None = None,
        nesterov: bool = True,
        inner_momentum: float = 0.9,
        weight_decay: float = 0.0,
        scoping: float = 0.0,
        seed: int = 0,
        outer: str = "momentum",
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        decoupled_weight_decay: float = 0.0,
        inner: str = "momentum",
        inner_betas: Sequence[float] = (0.9, 0.999),
        inner_eps: float = 1e-8,
        inner_state: str | None = None,
        closure_calls: str = "all",
    ) -> None:
        super().__init__(params, resolved("entropy_sgd", given(locals())))

    def after(self, i: int, blocks: list[Block]) -> None:
        spring_chain(self, i, blocks)


def spring_chain(optimizer: Relaxation, i: int, blocks: list[Block]) -> None:
    """Step i of a chain towards exp(-(f(y) + |x - y|^2/(2 gamma))/T), by the gradient at y. d = x - mu at its end.

        y, mu <- x;  then inner_steps times, a fresh mini-batch each:
        G <- grad f(y) + (y - x)/gamma
        v <- inner_momentum v + G;  y <- y - inner_lr (G + inner_momentum v) + sqrt(2 inner_lr T) xi
        mu <- averaging mu + (1 - averaging) y

    v is 0 at first, or with inner_state="keep" what the chain before left. With inner="adamw" a step of AdamW on G
    takes the place of the second line. T is the temperature; at 0 no noise is drawn. The noise stands outside the
    momentum, so the temperature is exact only with inner_momentum = 0. At averaging 0, where mu is y itself, no mu is
    kept.
    """
    taking_part = [block for block in blocks if block.y]
    for block in taking_part:
        _descend(optimizer, block, i)
    if any(block.group["temperature"] for block in blocks):
        optimizer.noise(i).fill(optimizer.buffers("d"))  # d is not needed before the chain ends
    for block in taking_part:
        if scale := _noise_scale(block):
            torch._foreach_add_(block.y, block.d, alpha=scale)
        if averaging := float(block.group["averaging"]):
            mu = optimizer.scratch("mu", block.y)
            if i == 0:
                copy_(mu, block.x)
            torch._foreach_lerp_(mu, block.y, 1.0 - averaging)
        if i == int(block.group["inner_steps"]) - 1:
            copy_(block.d, block.x)
            torch._foreach_sub_(block.d, optimizer.scratch("mu", block.y) if averaging else block.y)


def _noise_scale(block: Block) -> float:
    """sqrt(2 inner_lr T), the standard deviation of the noise of one inner step."""
    return math.sqrt(2.0 * float(block.group["inner_lr"]) * float(block.group["temperature"]))


def _descend(optimizer: Relaxation, block: Block, i: int) -> None:
    """Inner step i of y, without its noise. Overwrites d."""
    group, y = block.group, block.y
    h, m = float(group["inner_lr"]), float(group["inner_momentum"])
    force = block.gradients()
    if i > 0 and (spring := stiffness(group)):  # at the first step y = x: no spring
        offset = block.d
        copy_(offset, y)
        torch._foreach_sub_(offset, block.x)
        torch._foreach_add_(force, offset, alpha=spring)
    if group["inner"] == "adamw":
        _adamw(optimizer, block, force, i)
        return
    if m:
        velocity, at_rest = chain_state(optimizer, block, "velocity", i)
        if at_rest:
            copy_(velocity, force)
        else:
            torch._foreach_mul_(velocity, m)
            torch._foreach_add_(velocity, force)
        torch._foreach_add_(force, velocity, alpha=m)
    torch._foreach_add_(y, force, alpha=-h)


def _adamw(optimizer: Relaxation, block: Block, force: list[Tensor], i: int) -> None:
    """A step of AdamW on the force, which it overwrites."""
    group = block.group
    first, at_rest = chain_state(optimizer, block, "exp_avg", i)
    second, _ = chain_state(optimizer, block, "exp_avg_sq", i)
    if at_rest:
        torch._foreach_zero_([*first, *second])
    moments, h, decay = (first, second), float(group["inner_lr"]), float(group["decoupled_weight_decay"])
    betas, eps, inner = group["inner_betas"], group["inner_eps"], replace(block, d=force)
    if not all(map(host_knows, block.y)):
        fused_adamw_(inner, *moments, chain_counts(optimizer, block, i), h, betas, eps, decay)
    else:
        adamw_(inner, *moments, chain_steps(optimizer, block, i), h, betas, eps, decay)
