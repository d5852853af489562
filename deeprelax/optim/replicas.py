"""What the methods with replicas have in common: n copies x_a of the weights, each with gradients of its own."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from .relaxation import Relaxation
from .scratch import Block, copy_
from .shards import plain
from .state import REPLICA, allocate, starting_at_x


class Replicated(Relaxation):
    """Descent of n replicas x_a that are pulled together; between steps the parameters are their mean.

        d_a <- the direction of replica a, from `gradients_each` mini-batch gradients of its own
        x_a <- x_a - lr (d_a + what pulls x_a to the others)          by the rule of `torch.optim.SGD`
        x   <- x - lr (mean of d_a),                                  the mean of the x_a, for the pulls add up to zero

    A step takes `replicas` times `gradients_each` closure calls, replica after replica. All replicas begin at x. x_a
    lies in `state[p]["replica_<a>"]` and its momentum beside it, under that name and torch's; a step that fails or is
    not finite leaves them as they are. The noise of replica a is a function of (seed, outer step, a).

    Ranks may divide the replicas (`divide`), each taking the same number of them; x is then the same on all, and what
    the others keep is not in this one's state. A subclass writes `after_one`, and `pull` where the force is another.
    """

    evaluations_key = "replicas"
    replicated: ClassVar[bool] = True
    starts_away = True

    @property
    def replicas(self) -> int:
        """How many there are, on all ranks."""
        return int(self.shared("replicas"))

    @property
    def gradients_each(self) -> int:
        """Mini-batch gradients of one replica in a step."""
        return 1

    @property
    def evaluations(self) -> int:
        return self.replicas * self.gradients_each

    @property
    def parts(self) -> int:  # type: ignore[override]
        return self.replicas

    def forget_others(self) -> None:
        others = [a for a in range(self.replicas) if a not in self.mine]
        for values in self.state.values():
            for name in [name for name in values for a in others if f"{name}_".startswith(f"{REPLICA}{a}_")]:
                del values[name]

    @abstractmethod
    def after_one(self, i: int, blocks: list[Block]) -> None:
        """Take in gradient i of a replica, as `after` does; `block.x` is x_a. After the last one `block.d` is d_a."""

    def pull(self, block: Block, x_a: list[Tensor], d_a: list[Tensor]) -> None:
        """Add to d_a what pulls x_a, to be descended by the outer rule: in the mean over the replicas nothing."""

    # What a step is made of -------------------------------------------------------------------------------------------

    def turn(self, i: int) -> None:
        self.chain = self.mine[i // self.gradients_each]

    def before(self, i: int, blocks: list[Block]) -> None:
        self.turn(i)
        for block in blocks if i % self.gradients_each == 0 else ():
            copy_(block.y, self.places(block, self.chain))

    def after(self, i: int, blocks: list[Block]) -> None:
        a, of_replica = self.chain, i % self.gradients_each
        taking_part = [block for block in blocks if block.y]
        views = [replace(block, x=self.places(block, a)) for block in taking_part]
        self.after_one(of_replica, views)
        if of_replica < self.gradients_each - 1:
            return
        for block, view in zip(taking_part, views, strict=True):
            copy_(self.scratch(f"d {a}", block.y), view.d)
        if i == self.evaluations_here - 1:
            for block in taking_part:
                self._mean(block)

    def descend(self, block: Block) -> None:
        """The replicas, and with them their mean."""
        if self.finite is False or not block.y:
            return
        for a in self.mine:
            x_a, d_a = starting_at_x(self.state, block, f"{REPLICA}{a}"), self.scratch(f"d {a}", block.y)
            self.pull(block, x_a, d_a)
            self.move(block, a, x_a, d_a)
        super().descend(block)

    def move(self, block: Block, a: int, x_a: list[Tensor], d_a: list[Tensor]) -> None:
        """x_a by the outer rule along d_a."""
        view = replace(block, y=x_a, d=d_a)
        self.rule(block.group).apply(view, self.state, self.finite, f"{REPLICA}{a}_")

    def allocate(self, block: Block) -> None:
        super().allocate(block)
        names = self.rule(block.group).names(block.group)
        for a in self.mine:
            allocate(block, self.state, tuple(f"{REPLICA}{a}_{name}" for name in names))
            starting_at_x(self.state, block, f"{REPLICA}{a}")

    def places(self, block: Block, a: int) -> list[Tensor]:
        """x_a; x where the replica has not left it."""
        name, pairs = f"{REPLICA}{a}", zip(block.params, block.x, strict=True)
        return [plain(self.state[p][name]) if name in self.state.get(p, {}) else x for p, x in pairs]

    def _mean(self, block: Block) -> None:
        """d <- the mean of d_a over the replicas of this rank."""
        first, *others = self.mine
        block.d = self.scratch("d", block.y)
        copy_(block.d, self.scratch(f"d {first}", block.y))
        for a in others:
            torch._foreach_add_(block.d, self.scratch(f"d {a}", block.y))
        if others:
            torch._foreach_div_(block.d, float(1 + len(others)))


def add_offset(to: list[Tensor], x_a: list[Tensor], x: list[Tensor], stiffness: float) -> None:
    """to <- to + stiffness (x_a - x)."""
    torch._foreach_add_(to, torch._foreach_sub(x_a, x), alpha=stiffness)
