"""Parle: replicas that each descend local entropy by a chain of their own, pulled to their mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from .entropy_sgd import spring_chain
from .hyperparameters import given, scoped_gamma
from .replicas import Replicated, add_offset
from .scratch import Block


class Parle(Replicated):
    """Descent of n replicas on local entropy, each pulled to their mean x, which the parameters are between steps.

        of each replica: y <- x_a, then inner_steps steps of a chain on f(y) + |y - x_a|^2/(2 gamma), whose average is z
        x_a <- x_a - lr ((x_a - z) + (x_a - x)/rho)

    The chain is that of Entropy-SGD (`spring_chain`), the second line torch.optim.SGD's rule with momentum. A step
    takes replicas * inner_steps gradients, a mini-batch of its own each.

    Source: arXiv 1707.00424; the values from the authors' code (github.com/ucla-vision/parle), where gamma and rho are
    stiffnesses, the inverse of ours: 0.01, and 0.01 inner_steps replicas.
    Differs from the authors' code: z begins at x_a in each step, where theirs continues from the last; the step starts
    from x_a, where theirs starts from the end of the chain; scoping counts outer steps, where theirs counts every
    parameter tensor; x is the mean of x_a, where theirs is the mean of z; the chain's velocity begins at 0.

    Args:
        params: parameters, or groups of them, as for every torch optimizer.
        lr: outer learning rate.
        replicas: n. Ranks of a run divide them.
        inner_steps: L, gradients of each replica in a step.
        gamma: time of local entropy, larger is smoother; inf switches the spring off.
        rho: of the pull (x_a - x)/rho, larger is looser; inf leaves the replicas alone.
        scoping: gamma and rho are divided by (1 + scoping)^k after k outer steps. Published as 1/(2 B), B the
            mini-batches of a pass: 1.07e-3 for MNIST in batches of 128.
        gamma_min, rho_min: what scoping does not go below.
        inner_lr: step size h of the chains.
        inner_momentum: Nesterov momentum of the chains.
        averaging: the share a that z keeps at each inner step, z <- a z + (1-a) y.
        temperature: 1/beta of the chains' Langevin noise; 0, as in the authors' code, draws none.
        momentum: of the outer update.
        nesterov: Nesterov's look-ahead in the outer update; without effect at momentum 0.
        weight_decay: coefficient c of c/2 |y|^2 in the loss.
        seed: of the noise.
        closure_calls: "all", or "once", as of EntropySGD.
    """

    evaluations_key = "inner_steps"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.1,
        replicas: int = 3,
        inner_steps: int = 25,
        gamma: float = 100.0,
        rho: float = 1.333,
        scoping: float = 1e-3,
        gamma_min: float = 1.0,
        rho_min: float = 0.1,
        inner_lr: float = 0.1,
        inner_momentum: float = 0.9,
        averaging: float = 0.75,
        temperature: float = 0.0,
        momentum: float = 0.9,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        seed: int = 0,
        closure_calls: str = "all",
    ) -> None:
        super().__init__(params, given(locals()))

    @property
    def gradients_each(self) -> int:
        return int(self.shared("inner_steps"))

    def settings(self, group: dict[str, Any]) -> dict[str, Any]:
        """gamma and rho as scoping has them now; the chain is that of Entropy-SGD with its momentum rule."""
        rho = scoped_gamma({**group, "gamma": group["rho"]})
        scoped = {"gamma": max(scoped_gamma(group), group["gamma_min"]), "rho": max(rho, group["rho_min"])}
        return {**group, **scoped, "scoping": 0.0, "inner": "momentum", "inner_state": "reset"}

    def scalars(self) -> dict[str, float]:
        return super().scalars() | {"rho": float(self.settings(self.param_groups[0])["rho"])}

    def after_one(self, i: int, blocks: list[Block]) -> None:
        spring_chain(self, i, blocks)

    def pull(self, block: Block, x_a: list[Tensor], d_a: list[Tensor]) -> None:
        add_offset(d_a, x_a, block.x, 1.0 / float(block.group["rho"]))
