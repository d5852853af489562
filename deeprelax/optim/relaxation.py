"""Gradient descent on a relaxed loss: x <- x - lr * d(x).

Every optimizer of this folder is an outer rule, that of `torch.optim.SGD` or of AdamW, with a direction d of its own:

    optimizer         relaxed loss u(x)                    d(x)                            gradients of f
    SGD, AdamW        f                                    grad f(x)                       1
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

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from ._lazy import Optimizer
from .closure import MISSING_CLOSURE, Calls, Closure, refuse_scaler, refuse_zero
from .finite import Finiteness
from .hyperparameters import CHOSEN_ONCE, check_ranges, check_rules, scoped_gamma
from .outer import KEYS, OF_ADAMW_RULE, OF_MOMENTUM, RULES
from .scratch import Block, Buffers, Noise, Workspace, copy_
from .shards import plain
from .state import Rewind, allocate, check_state_dict, restore_counts, wants_state_alone

Evaluate = Callable[[], None]


class Relaxation(Optimizer):
    """x <- x - lr * d(x), d the direction of the relaxed loss, estimated from mini-batch gradients of f.

    The outer rule is that of `torch.optim.SGD`: v <- m v + d, then x <- x - lr (d + m v) with Nesterov's look-ahead or
    x <- x - lr v without, m the momentum. With outer="adamw" it is that of `torch.optim.AdamW` (`outer.py`). A subclass
    writes what happens `before` and `after` each gradient, and names in `evaluations_key` the hyper-parameter that
    counts them, or overrides `evaluations`.

    A parameter takes part in a step if the step's first evaluation gives it a gradient. Hyper-parameters are read
    from `param_groups` at each step, so torch's schedulers and a change by hand act at once. All that a checkpoint
    needs is in `state` and `param_groups`; x, mu and an inner state that is not kept are scratch, reused.

    Raises ValueError, naming the keyword, when a hyper-parameter is out of range, and under ZeroRedundancyOptimizer.
    """

    evaluations_key: str | None = None
    choice = ""  # whose rows of `hyperparameters.RANGES` hold
    moves: bool = True  # does `direction` move the parameters?
    # Averages the given tensors (all d, then the loss) over ranks, in place. Set by data-parallel training, not state.
    reduce_direction: Callable[[list[Tensor]], None] | None = None
    # This process's chain, mixed into the noise. Never saved: every rank would load rank 0's.
    chain: int = 0

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        """`defaults` has lr and whatever else the subclass reads; the keys of the outer rule may be missing."""
        refuse_zero()
        self._forget()
        values = {**KEYS, **defaults, "outer_steps": 0}
        check_ranges(values, self.choice)
        check_rules(values)
        # torch's schedulers that cycle the momentum go by the keys: betas, where there are some
        idle = OF_MOMENTUM if values["outer"] == "adamw" else OF_ADAMW_RULE
        super().__init__(params, {key: value for key, value in values.items() if key not in idle})

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._forget()

    def _forget(self) -> None:
        self._workspace = Workspace()
        self._noise: Noise | None = None
        self._finiteness = Finiteness()
        self.rewind = Rewind()  # what is put back if the step fails
        self._calls: Calls | None = None
        self.finite: bool | Tensor = True  # were loss and d of the last step? On a GPU a 0-dim tensor there

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if self.param_groups:  # a group that joins later shares the count of outer steps
            param_group = {"outer_steps": self.param_groups[0]["outer_steps"], **param_group}
        check_ranges(param_group, self.choice)
        check_rules({**self.defaults, **param_group})
        for key in CHOSEN_ONCE & set(param_group):
            if param_group[key] != self.defaults.get(key):
                raise ValueError(f"{key} must be the same in all parameter groups: give it to the constructor")
        super().add_param_group(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        if self._calls is not None:
            self._calls.zeroed = True
        super().zero_grad(set_to_none)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's. Raises ValueError, before anything changes, for the state dict of another optimizer."""
        check_state_dict(type(self).__name__, state_dict, self.defaults)
        super().load_state_dict(state_dict)
        restore_counts(self, state_dict)

    # What a subclass writes -----------------------------------------------------------------------------------------

    def before(self, i: int, blocks: list[Block]) -> None:
        """Move the parameters to the y at which gradient i, of `evaluations`, is to be taken. By default they stay."""

    def after(self, i: int, blocks: list[Block]) -> None:
        """Take in gradient i, `block.gradients()`. After the last one `block.d` is the direction.

        What is kept from one gradient to the next lies in tensors: `block.d`, `scratch`, `buffers`.
        """
        raise NotImplementedError

    def settings(self, group: dict[str, Any]) -> dict[str, Any]:
        """The hyper-parameters of a group as the step reads them: a class may derive some from others."""
        return group

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
        group = self.settings(self.param_groups[0])
        return {"lr": float(group["lr"])} | ({"gamma": scoped_gamma(group)} if "gamma" in group else {})

    # The step ---------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        """One outer step: exactly `evaluations` closure calls, one update of x.

        The closure must zero the gradients before it adds to them, else ValueError. A step begins all but its first
        evaluation with .grad None, and ends so.

        Returns the mean of the closure's losses, a 0-dim tensor: f at y, where the gradients were taken, NOT f at the
        new x. If the loss or d is not finite, weights and state stay as they were, the step counts, and
        `nonfinite_steps` tells of it. If the closure raises, the parameters are x again and nothing else changed.
        Without a closure: ValueError, but for torch.distributed.checkpoint, whose step at lr 0 allocates the state.
        """
        self._workspace.fit(self._trainable())
        blocks = [self._block(group) for group in self.param_groups]
        if closure is None:
            if wants_state_alone(self):
                for block in blocks:
                    allocate(block, self.state, RULES[block.group["outer"]].names(block.group))
                return torch.zeros(())
            raise ValueError(MISSING_CLOSURE.format(name=type(self).__name__))
        refuse_scaler()
        loss = self._find_direction(Calls(closure, self._trainable()), blocks)
        self.rewind.back(self.finite)
        for block in blocks:
            RULES[block.group["outer"]].apply(block, self.state, self.finite)
        for group in self.param_groups:
            group["outer_steps"] += 1
        return loss

    def _find_direction(self, calls: Calls, blocks: list[Block]) -> Tensor:
        """d of the blocks, averaged over ranks, and whether it is finite. The parameters are x before and after."""
        self._calls = calls

        def evaluate() -> None:
            calls()
            if len(calls.losses) == 1:
                blocks[:] = [block.split() for block in blocks]

        self.rewind.forget()
        try:
            self.direction(evaluate, blocks)
            assert len(calls.losses) == self.evaluations, "direction() must evaluate exactly `evaluations` times"
            loss = calls.losses[0] if len(calls.losses) == 1 else torch.stack(calls.losses).mean()
            if self.reduce_direction is not None:
                self.reduce_direction([*(d for block in blocks for d in block.d), loss])
            self.finite = self._finiteness.examine(blocks, loss, self.param_groups[0]["outer_steps"])
        except BaseException:
            self.rewind.back()
            raise
        finally:
            for block in filter(lambda block: self.moves, blocks):
                copy_(block.y, block.x)
            calls.empty()
            self._calls = None
        return loss

    def _block(self, group: dict[str, Any]) -> Block:
        params = [p for p in group["params"] if p.requires_grad]
        y = [self._workspace.numbers[p] for p in params]
        x = self.scratch("x", y) if self.moves else y
        values = self.settings({**group, "lr": float(group["lr"])})
        check_rules(values)  # a change by hand
        block = Block(values, params, y, x, self.scratch("d", y), self.buffers("d").flats, self._workspace.plain)
        if self.moves:
            copy_(block.x, block.y)
        return block

    # What a log or a loop may ask after a step ------------------------------------------------------------------------

    def direction_norm(self) -> Tensor:
        """Euclidean norm of the last step's d over all parameters, a 0-dim tensor."""
        norm = self._finiteness.norm
        if norm is None:
            raise RuntimeError("direction_norm() is known after a step only")
        return torch.as_tensor(norm, dtype=None if isinstance(norm, Tensor) else torch.float64)

    def nonfinite_steps(self) -> tuple[int, int]:
        """How many outer steps since the last call had a loss or d that was not finite, and the number of the first.

        (0, 0) if none had. Waits for the device.
        """
        return self._finiteness.count()

    def memory(self) -> int:
        """Bytes that the optimizer holds between steps: its state and the buffers that steps reuse."""
        tensors = [plain(t) for state in self.state.values() for t in state.values()]
        tensors += [t for buffers in self._workspace.held.values() for t in buffers.flats]
        return sum(t.nbytes for t in tensors)

    # Tools for subclasses ---------------------------------------------------------------------------------------------

    def buffers(self, name: str) -> Buffers:
        """Scratch memory shaped like the parameters that require a gradient, kept from step to step under this name."""
        if not self._workspace.numbers:  # no step has been taken
            self._workspace.fit(self._trainable())
        return self._workspace.buffers(name)

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

    def shared(self, key: str) -> Any:
        """A hyper-parameter of the step as a whole. ValueError if the parameter groups disagree on it."""
        values = {group[key] for group in self.param_groups}
        if len(values) > 1:
            raise ValueError(f"{key} must be the same in all parameter groups, not {sorted(values)}")
        return values.pop()
