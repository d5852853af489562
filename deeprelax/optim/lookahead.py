"""Lookahead, SNOO and DiLoCo: Entropy-SGD without spring, average and noise. d = x - y, y some steps from x."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from .entropy_sgd import EntropySGD
from .hyperparameters import given, resolved
from .relaxation import Relaxation


class Lookahead(EntropySGD):
    """d = x - y_L: y takes `inner_steps` L steps of the inner rule from x, and x follows by a share lr of the way.

        y_0 = x;  y_i <- the inner rule on grad f(y_(i-1)), a fresh mini-batch each;  x <- x - lr (x - y_L)

    It is EntropySGD(gamma=inf, averaging=0, temperature=0). On a quadratic without inner momentum
    d = (1 - r^L)(x - x*), r = 1 - inner_lr lambda; with Nesterov momentum m outside it is stable exactly if
    lr (1 - r^L) < 2 (1 + m)/(1 + 2 m).

    Source: arXiv 1907.08610, algorithm 1, with its lr (alpha) 0.8 and L 5 for CIFAR.

    Args:
        params: parameters, or groups of them, as for every torch optimizer.
        lr: share of the way to y_L that x goes.
        inner_steps: L, closure calls of one step.
        inner_lr: rate of the inner rule, by default 0.1; 1e-3 for inner="adamw".
        momentum: of the outer update.
        nesterov: Nesterov's look-ahead in the outer update; without effect at momentum 0.
        inner_momentum: Nesterov momentum of inner="momentum".
        weight_decay: coefficient c of c/2 |y|^2 in the loss.
        decoupled_weight_decay: c of (1 - rate c) times the weights at each step of the inner rule if that is "adamw",
            else of the outer rule. Excludes weight_decay.
        inner: the inner rule, "momentum" (torch.optim.SGD's) or "adamw" (torch.optim.AdamW's).
        inner_betas, inner_eps: of inner="adamw".
        inner_state: what becomes of its velocity or moments at the end of a step, "reset" or "keep".
        closure_calls: "all", or "once": a step with a closure takes one gradient of the outer step, as a call without
            one does. For closures that repeat one batch, as Lightning's automatic optimization and skorch give.
    """

    choice = "lookahead"
    same_each_step = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.8,
        inner_steps: int = 5,
        inner_lr: float | None = None,
        momentum: float = 0.0,
        nesterov: bool = True,
        inner_momentum: float = 0.9,
        weight_decay: float = 0.0,
        decoupled_weight_decay: float = 0.0,
        inner: str = "momentum",
        inner_betas: Sequence[float] = (0.9, 0.999),
        inner_eps: float = 1e-8,
        inner_state: str = "reset",
        closure_calls: str = "all",
    ) -> None:
        Relaxation.__init__(self, params, resolved(self.choice, given(locals())))

    def settings(self, group: dict[str, Any]) -> dict[str, Any]:
        return {**group, "gamma": math.inf, "averaging": 0.0, "temperature": 0.0}

    def scalars(self) -> dict[str, float]:
        return {key: value for key, value in super().scalars().items() if key != "gamma"}


class SNOO(Lookahead):
    """Lookahead with Nesterov momentum outside and an inner state that lasts: DiLoCo of one worker.

    Source: arXiv 2510.15830; its lr 0.68, momentum 0.37 and L 28 are those of the authors' entry to a speed contest.
    Differs from the authors' code: there the outer rule takes a step before the first inner one, too.

    Args:
        params, ...: as Lookahead's, with other defaults.
    """

    choice = "snoo"
    same_each_step = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.68,
        inner_steps: int = 28,
        inner_lr: float | None = None,
        momentum: float = 0.37,
        nesterov: bool = True,
        inner_momentum: float = 0.9,
        weight_decay: float = 0.0,
        decoupled_weight_decay: float = 0.0,
        inner: str = "momentum",
        inner_betas: Sequence[float] = (0.9, 0.999),
        inner_eps: float = 1e-8,
        inner_state: str = "keep",
        closure_calls: str = "all",
    ) -> None:
        Relaxation.__init__(self, params, resolved(self.choice, given(locals())))


class DiLoCo(Lookahead):
    """Lookahead with AdamW inside, whose moments last, and Nesterov momentum outside; d is the mean of the workers' d.

    In the runner the workers are ranks under hardware.share=chains, each with an order and moments of its own; in a
    loop of one's own `reduce_direction` averages d over them.

    Source: arXiv 2311.08105, algorithm 1: lr 0.7, momentum 0.9, L 500.
    Differs from the paper: a worker's batch is its part of the batch of all. A schedule acts on the inner rate there.

    Args:
        params, ...: as Lookahead's, with other defaults.
    """

    choice = "diloco"
    same_each_step = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.7,
        inner_steps: int = 500,
        inner_lr: float | None = None,
        momentum: float = 0.9,
        nesterov: bool = True,
        inner_momentum: float = 0.9,
        weight_decay: float = 0.0,
        decoupled_weight_decay: float = 0.0,
        inner: str = "adamw",
        inner_betas: Sequence[float] = (0.9, 0.999),
        inner_eps: float = 1e-8,
        inner_state: str = "keep",
        closure_calls: str = "all",
    ) -> None:
        Relaxation.__init__(self, params, resolved(self.choice, given(locals())))
