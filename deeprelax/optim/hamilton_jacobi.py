"""HJ: descent on the Hopf-Lax solution of the inviscid Hamilton-Jacobi equation (the Moreau envelope)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from .entropy_sgd import spring_chain
from .hyperparameters import scoped_gamma
from .relaxation import Evaluate, Relaxation
from .scratch import Block, copy_


class HamiltonJacobi(Relaxation):
    """Descent on u(x, gamma) = min_y f(y) + |x - y|^2/(2 gamma), which solves u_t = -1/2 |grad u|^2, u(x, 0) = f(x).

    grad u = grad f(prox) = (x - prox)/gamma with prox the minimiser y. Two solvers:

        fixed_point   p <- grad f(x);  inner_steps - 1 times: p <- averaging p + (1 - averaging) grad f(x - gamma p)
                      d = p ~ grad u. Converges while gamma lambda_max < (1 + averaging)/(1 - averaging), 7 at 0.75.
        proximal      the spring chain of EntropySGD without noise, d = x - y ~ gamma grad u.

    Mind the scales of d: lr is about 0.1 for fixed_point and about 1 for proximal.

    Source: arXiv 1704.04932, section 4; fixed_point is the "HJ" column of its table of results.

    Args:
        params: parameters, or groups of them, as for every torch optimizer.
        lr: outer learning rate on d; by default 0.1 for fixed_point, 1.0 for proximal.
        gamma: time of the equation: the larger the smoother; by default 0.1 for fixed_point, 1e4 for proximal.
        inner_steps: L, closure calls of one step.
        solver: "fixed_point" or "proximal".
        inner_lr: step size of the chain (proximal).
        inner_momentum: Nesterov momentum of the chain, which starts at rest in each outer step (proximal).
        averaging: the share that p keeps at each iteration (fixed_point).
        momentum: of the outer update; by default 0.9 for fixed_point, 0 for proximal.
        nesterov: Nesterov's look-ahead in the outer update; without effect at momentum 0.
        weight_decay: coefficient c of c/2 |y|^2 in the loss.
        scoping: gamma_k = gamma/(1 + scoping)^k after k outer steps.
    """

    evaluations_key = "inner_steps"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | None = None,
        gamma: float | None = None,
        inner_steps: int = 5,
        solver: str = "fixed_point",
        inner_lr: float = 0.1,
        inner_momentum: float = 0.9,
        averaging: float = 0.75,
        momentum: float | None = None,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        scoping: float = 0.0,
    ) -> None:
        proximal = solver == "proximal"
        defaults = {
            "lr": (1.0 if proximal else 0.1) if lr is None else lr,
            "gamma": (1e4 if proximal else 0.1) if gamma is None else gamma,
            "inner_steps": inner_steps,
            "solver": solver,
            "inner_lr": inner_lr,
            "inner_momentum": inner_momentum,
            "averaging": averaging,
            "momentum": (0.0 if proximal else 0.9) if momentum is None else momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "scoping": scoping,
        }
        super().__init__(params, defaults)

    def direction(self, evaluate: Evaluate, blocks: list[Block]) -> None:
        if self.shared("solver") == "proximal":
            spring_chain(self, evaluate, blocks, average=False)
        else:
            self._fixed_point(evaluate, blocks)

    def _fixed_point(self, evaluate: Evaluate, blocks: list[Block]) -> None:
        evaluate()
        for block in blocks:
            copy_(block.d, block.gradients())
        for _ in range(self.evaluations - 1):
            for block in filter(lambda block: block.y, blocks):
                copy_(block.y, block.x)
                torch._foreach_add_(block.y, block.d, alpha=-scoped_gamma(block.group))
            evaluate()
            for block in filter(lambda block: block.y, blocks):
                torch._foreach_lerp_(block.d, block.gradients(), 1.0 - float(block.group["averaging"]))
