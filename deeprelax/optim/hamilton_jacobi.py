"""HJ: descent on the Hopf-Lax solution of the inviscid Hamilton-Jacobi equation (the Moreau envelope)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from .entropy_sgd import spring_chain
from .hyperparameters import check_ranges, given, resolved, scoped_gamma
from .relaxation import Relaxation
from .scratch import Block, copy_


class HamiltonJacobi(Relaxation):
    """Descent on u(x, gamma) = min_y f(y) + |x - y|^2/(2 gamma), which solves u_t = -1/2 |grad u|^2, u(x, 0) = f(x).

    grad u = grad f(prox) = (x - prox)/gamma with prox the minimiser y. Two solvers:

        fixed_point   p <- grad f(x);  inner_steps - 1 times: p <- averaging p + (1 - averaging) grad f(x - gamma p)
                      d = p ~ grad u. Converges while gamma lambda_max < (1 + averaging)/(1 - averaging), 7 at 0.75.
        proximal      the chain of EntropySGD at temperature 0 and averaging 0: d = x - y ~ gamma grad u.

    Mind the scales of d: lr is about 0.1 for fixed_point and about 1 for proximal.

    Source: arXiv 1704.04932, section 4; fixed_point is the "HJ" column of its table of results.

    Args:
        params: parameters, or groups of them, as for every torch optimizer.
        lr: outer learning rate on d; by default 0.1 for fixed_point, 1.0 for proximal, 1e-3 for outer="adamw".
        gamma: time of the equation: the larger the smoother; by default 0.1 for fixed_point, 1e4 for proximal.
        inner_steps: L, closure calls of one step; by default 5 for fixed_point, 20 for proximal.
        solver: "fixed_point" or "proximal".
        inner_lr: step size of the chain, by default 0.1; 1e-3 for inner="adamw" (proximal).
        inner_momentum: Nesterov momentum of the chain, of inner="momentum" (proximal).
        averaging: the share that p keeps at each iteration (fixed_point).
        momentum: of the outer update; by default 0.9 for fixed_point, 0 for proximal and outer="adamw".
        nesterov: Nesterov's look-ahead in the outer update; without effect at momentum 0.
        weight_decay: coefficient c of c/2 |y|^2 in the loss.
        scoping: gamma_k = gamma/(1 + scoping)^k after k outer steps.
        outer: the outer rule, "momentum" (torch.optim.SGD's) or "adamw" (torch.optim.AdamW's, of d).
        betas, eps: of outer="adamw".
        decoupled_weight_decay: c of (1 - rate c) times the weights at each step of the inner rule if that is "adamw",
            else of the outer rule. Excludes weight_decay.
        inner, inner_betas, inner_eps, inner_state: the chain's rule and what it keeps, as EntropySGD's (proximal).
        closure_calls: "all", or "once": a step with a closure takes one gradient of the outer step, as a call without
            one does. For closures that repeat one batch, as Lightning's automatic optimization and skorch give.
    """

    evaluations_key = "inner_steps"
    same_each_step = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | None = None,
        gamma: float | None = None,
        inner_steps: int | None = None,
        solver: str = "fixed_point",
        inner_lr: float | None = None,
        inner_momentum: float = 0.9,
        averaging: float = 0.75,
        momentum: float | None = None,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        scoping: float = 0.0,
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
        values = given(locals())
        check_ranges({"solver": solver, "inner": inner})
        if solver == "fixed_point" and (inner != "momentum" or inner_state == "keep"):
            raise ValueError('inner and inner_state are of the chain that solver="proximal" has: leave them out')
        super().__init__(params, resolved("hj" if solver == "fixed_point" else "hj_proximal", values))

    def settings(self, group: dict[str, Any]) -> dict[str, Any]:
        if group["solver"] == "fixed_point":
            return group
        return {**group, "temperature": 0.0, "averaging": 0.0}  # the group's own averaging is of the other solver

    def before(self, i: int, blocks: list[Block]) -> None:
        if i == 0 or self.shared("solver") == "proximal":
            return  # the first gradient is at x; the chain has moved y itself
        for block in filter(lambda block: block.y, blocks):
            copy_(block.y, block.x)
            torch._foreach_add_(block.y, block.d, alpha=-scoped_gamma(block.group))

    def after(self, i: int, blocks: list[Block]) -> None:
        if self.shared("solver") == "proximal":
            spring_chain(self, i, blocks)
            return
        for block in filter(lambda block: block.y, blocks):
            if i == 0:
                copy_(block.d, block.gradients())
            else:
                torch._foreach_lerp_(block.d, block.gradients(), 1.0 - float(block.group["averaging"]))
