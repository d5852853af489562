"""The inner chain of EntropySGD and of the proximal HamiltonJacobi: gradient descent tied to x by a spring."""

from __future__ import annotations

import math

import torch

from .block import Block, copy_
from .hyperparameters import stiffness
from .relaxation import Evaluate, Relaxation


def spring_chain(optimizer: Relaxation, evaluate: Evaluate, blocks: list[Block], *, average: bool) -> None:
    """d = x - mu (or x - y without `average`) after inner_steps steps towards exp(-(f(y) + |x-y|^2/(2 gamma))/T).

        y, mu <- x;  v <- 0;  then inner_steps times, a fresh mini-batch each:
        G <- grad f(y) + (y - x)/gamma
        v <- inner_momentum v + G;  y <- y - inner_lr (G + inner_momentum v) + sqrt(2 inner_lr T) xi
        mu <- averaging mu + (1 - averaging) y

    T is the group's "temperature", absent or 0 for no noise. The noise stands outside the momentum, so the
    temperature is exact only with inner_momentum = 0.
    """
    noise = optimizer.noise() if any(block.group.get("temperature") for block in blocks) else None
    for step in range(optimizer.evaluations):
        evaluate()
        for block in filter(lambda block: block.y, blocks):
            _descend(optimizer, block, first=step == 0)
        if noise is not None:
            noise.fill(optimizer.buffers("d"))  # d is not needed before the chain ends
        for block in filter(lambda block: block.y, blocks):
            if scale := _noise_scale(block):
                torch._foreach_add_(block.y, block.d, alpha=scale)
            if average:
                mu = optimizer.scratch("mu", block.y)
                if step == 0:
                    copy_(mu, block.x)
                torch._foreach_lerp_(mu, block.y, 1.0 - float(block.group["averaging"]))
    for block in filter(lambda block: block.y, blocks):
        copy_(block.d, block.x)
        torch._foreach_sub_(block.d, optimizer.scratch("mu", block.y) if average else block.y)


def _noise_scale(block: Block) -> float:
    """sqrt(2 inner_lr T), the standard deviation of the noise of one inner step."""
    return math.sqrt(2.0 * float(block.group["inner_lr"]) * float(block.group.get("temperature", 0.0)))


def _descend(optimizer: Relaxation, block: Block, *, first: bool) -> None:
    """One inner step of y, without its noise. Overwrites d."""
    group, y = block.group, block.y
    h, m = float(group["inner_lr"]), float(group["inner_momentum"])
    force = block.gradients()
    if not first:  # at the first step y = x: no spring
        offset = block.d
        copy_(offset, y)
        torch._foreach_sub_(offset, block.x)
        torch._foreach_add_(force, offset, alpha=stiffness(group))
    if m:
        velocity = optimizer.scratch("velocity", y)
        if first:
            copy_(velocity, force)
        else:
            torch._foreach_mul_(velocity, m)
            torch._foreach_add_(velocity, force)
        torch._foreach_add_(force, velocity, alpha=m)
    torch._foreach_add_(y, force, alpha=-h)
