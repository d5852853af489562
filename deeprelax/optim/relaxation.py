"""Gradient descent on a relaxed loss: x <- x - lr * d(x).

Every optimizer of this folder is the outer rule of `torch.optim.SGD` with a direction d of its own:

    optimizer         relaxed loss u(x)                    d(x)                            gradients of f
    SGD               f                                    grad f(x)                       1
    EntropySGD        viscous Hamilton-Jacobi equation     x - <y>       (~ gamma grad u)  inner_steps
                      (local entropy)
    HamiltonJacobi    Hamilton-Jacobi equation
      fixed_point     (Hopf-Lax formula,                   grad f(prox)  (~ grad u)        inner_steps
      proximal        Moreau envelope)                     x - prox      (~ gamma grad u)  inner_steps
    Heat              heat equation (Gaussian smoothing)   <grad f(x + sigma z)>           samples

gamma is the TIME of the partial differential equation (Chaudhari et al., arXiv 1704.04932); the Entropy-SGD paper
(arXiv 1611.01838) and its public code quote the inverse, a stiffness. The same letters mean the same in all files:
x the weights at the start of a step, y where a gradient is taken, mu the average of y, d the direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from ._lazy import Optimizer
from .closure import MISSING_CLOSURE, Closure, call
from .hyperparameters import check_ranges, scoped_gamma
from .outer import Momentum
from .scratch import Block, Buffers, Noise, copy_

Evaluate = Callable[[], None]


class Relaxation(Optimizer):
    """x <- x - lr * d(x), d the direction of the relaxed loss, estimated from mini-batch gradients of f.

    With momentum m the outer rule is that of `torch.optim.SGD`: v <- m v + d, then x <- x - lr (d + m v) with
    Nesterov's look-ahead or x <- x - lr v without. A subclass writes what happens `before` and `after` each gradient,
    and names in `evaluations_key` the hyper-parameter that counts them, or overrides `evaluations`.

    A parameter takes part in a step if the step's first evaluation gives it a gradient. Hyper-parameters are read
    from `param_groups` at each step, so torch's schedulers and a change by hand act at once. All that a checkpoint
    needs is in `state` and `param_groups`; x, mu and the inner velocity are scratch, reused from step to step.

    Raises ValueError, naming the keyword, when a hyper-parameter is out of range.
    """

    evaluations_key: str | None = None
    moves: bool = True  # does `direction` move the parameters?
    outer = Momentum()  # the outer rule
    # Averages the given tensors (all d, then the loss) over ranks, in place. Set by data-parallel training, not state.
    reduce_direction: Callable[[list[Tensor]], None] | None = None
    # This process's chain, mixed into the noise. Never saved: every rank would load rank 0's.
    chain: int = 0

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        """`defaults` has lr and whatever else the subclass reads; the keys of the outer rule may be missing."""
        self._forget()
        super().__init__(params, {**self.outer.keys, "weight_decay": 0.0, **defaults, "outer_steps": 0})

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._forget()

    def _forget(self) -> None:
        self._scratch: dict[str, Buffers] = {}
        self._scratch_is_like: list[object] = []
        self._noise: Noise | None = None
        self._norm: Tensor | float | None = None
        self._bad: Tensor | None = None
        self.finite: bool | Tensor = True  # were loss and d of the last step? On a GPU a 0-dim tensor there

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if self.param_groups:  # a group that joins later shares the count of outer steps
            param_group = {"outer_steps": self.param_groups[0]["outer_steps"], **param_group}
        check_ranges({**self.defaults, **param_group})
        super().add_param_group(param_group)

    # What a subclass writes -----------------------------------------------------------------------------------------

    def before(self, i: int, blocks: list[Block]) -> None:
        """Move the parameters to the y at which gradient i, of `evaluations`, is to be taken. By default they stay."""

    def after(self, i: int, blocks: list[Block]) -> None:
        """Take in gradient i, `block.gradients()`. After the last one `block.d` is the direction.

        What is kept from one gradient to the next lies in tensors: `block.d`, `scratch`, `buffers`.
        """
        raise NotImplementedError

    def direction(self, evaluate: Evaluate, blocks: list[Block]) -> None:
        """Fill `block.d` of each block. `evaluate()` runs the closure where the parameters are now.

        A class may override this instead of `before` and `after`; it then needs a closure for every step.
        """
        for i in range(self.evaluations):
            self.before(i, blocks)
            evaluate()
            self.after(i, blocks)

    @property
    def evaluations(self) -> int:
        """Closure calls, that is mini-batch gradients, of one step."""
        return int(self.shared(self.evaluations_key)) if self.evaluations_key else 1

    def scalars(self) -> dict[str, float]:
        """The hyper-parameters in force in the first group, for a log."""
        group = self.param_groups[0]
        return {"lr": float(group["lr"])} | ({"gamma": scoped_gamma(group)} if "gamma" in group else {})

    # The step ---------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        """One outer step: exactly `evaluations` closure calls, one update of x.

        The closure must zero the gradients before it adds to them: a step overwrites .grad, which then means nothing.

        Returns the mean of the closure's losses, a 0-dim tensor: f at y, where the gradients were taken, NOT f at the
        new x. If the loss or d is not finite, weights and momentum stay as they were, the step counts, and
        `nonfinite_steps` tells of it. If the closure raises, the parameters are x again and nothing else changed.
        """
        if closure is None:
            raise ValueError(MISSING_CLOSURE.format(name=type(self).__name__))
        self._forget_scratch_of_others()
        blocks = [self._block(group) for group in self.param_groups]
        losses: list[Tensor] = []

        def evaluate() -> None:
            losses.append(call(closure))
            if len(losses) == 1:
                blocks[:] = [block.split() for block in blocks]

        try:
            self.direction(evaluate, blocks)
        finally:
            for block in filter(lambda block: self.moves, blocks):
                copy_(block.y, block.x)
        assert len(losses) == self.evaluations, "direction() must evaluate exactly `evaluations` times"
        loss = losses[0] if len(losses) == 1 else torch.stack(losses).mean()
        if self.reduce_direction is not None:
            self.reduce_direction([*(d for block in blocks for d in block.d), loss])
        self.finite = self._examine(blocks, loss)
        for block in blocks:
            self.outer.apply(block, self.state, self.finite)
        for group in self.param_groups:
            group["outer_steps"] += 1
        return loss

    def _block(self, group: dict[str, Any]) -> Block:
        y = [p for p in group["params"] if p.requires_grad]
        x = self.scratch("x", y) if self.moves else y
        block = Block(group, y, x, self.scratch("d", y), self.buffers("d").flats)
        if self.moves:
            copy_(block.x, block.y)
        return block

    def _examine(self, blocks: list[Block], loss: Tensor) -> bool | Tensor:
        """Are the loss and d finite? On a CPU yes or no, on a GPU a 0-dim tensor there: the host does not wait.

        So there are two paths through the rest of the step. The host of a CPU asks here and leaves a bad step out; on a
        GPU the outer rule masks it (`outer.py`), and the loop reads the count, `nonfinite_steps`, when it writes.
        """
        norms = [n for block in blocks if block.d for n in torch._foreach_norm(block.d)]
        if loss.device.type == "cpu":
            self._norm = norm = math.hypot(*(n.item() for n in norms))
            if math.isfinite(norm) and math.isfinite(loss.item()):
                return True
            bad = torch.ones((), dtype=torch.bool)
        else:
            total = torch.stack([n.to(loss.device) for n in norms]) if norms else torch.zeros_like(loss)
            self._norm = on_device = torch.linalg.vector_norm(total)
            bad = ~(torch.isfinite(on_device) & torch.isfinite(loss))
        if self._bad is None:
            self._bad = torch.zeros(2, dtype=torch.int64, device=loss.device)
        count, first = self._bad
        first.masked_fill_((count == 0) & bad, self.param_groups[0]["outer_steps"])
        count += bad
        return False if loss.device.type == "cpu" else ~bad

    # What a log or a loop may ask after a step ------------------------------------------------------------------------

    def direction_norm(self) -> Tensor:
        """Euclidean norm of the last step's d over all parameters, a 0-dim tensor."""
        if self._norm is None:
            raise RuntimeError("direction_norm() is known after a step only")
        return torch.as_tensor(self._norm, dtype=None if isinstance(self._norm, Tensor) else torch.float64)

    def nonfinite_steps(self) -> tuple[int, int]:
        """How many outer steps since the last call had a loss or d that was not finite, and the number of the first.

        (0, 0) if none had. Waits for the device.
        """
        bad, self._bad = self._bad, None
        count, first = (0, 0) if bad is None else bad.tolist()
        return count, first

    def memory(self) -> int:
        """Bytes that the optimizer holds between steps: its state and the buffers that steps reuse."""
        tensors = [t for state in self.state.values() for t in state.values()]
        tensors += [t for buffers in self._scratch.values() for t in buffers.flats]
        return sum(t.nbytes for t in tensors)

    # Tools for subclasses ---------------------------------------------------------------------------------------------

    def buffers(self, name: str) -> Buffers:
        """Scratch memory shaped like the parameters that require a gradient, kept from step to step under this name."""
        if name not in self._scratch:
            self._scratch[name] = Buffers(self._trainable())
        return self._scratch[name]

    def scratch(self, name: str, params: list[Tensor]) -> list[Tensor]:
        """One tensor of `buffers(name)` for each of these parameters."""
        return self.buffers(name).like(params)

    def noise(self, i: int = 0) -> Noise:
        """The Gaussians of this step, a function of (seed, outer step, chain). i = 0 starts their sequence."""
        self._noise = self._noise or Noise()
        if i == 0:
            self._noise.seed(self.shared("seed"), self.param_groups[0]["outer_steps"], self.chain)
        return self._noise

    def _trainable(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"] if p.requires_grad]

    def _forget_scratch_of_others(self) -> None:
        """A parameter that was added, frozen or moved since the last step changes what the buffers must be like."""
        now: list[object] = [(id(p), p.device, p.dtype) for p in self._trainable()]
        if now != self._scratch_is_like:
            self._scratch, self._scratch_is_like = {}, now

    def shared(self, key: str) -> Any:
        """A hyper-parameter of the step as a whole. ValueError if the parameter groups disagree on it."""
        values = {group[key] for group in self.param_groups}
        if len(values) > 1:
            raise ValueError(f"{key} must be the same in all parameter groups, not {sorted(values)}")
        return values.pop()
