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
    Parle             as EntropySGD, of n replicas         mean of x_a - <y>_a             n inner_steps
    ElasticSGD,       f, of n replicas                     mean of grad f(x_a)             n
      ReplicatedSGD

gamma is the TIME of the partial differential equation (Chaudhari et al., arXiv 1704.04932); the Entropy-SGD paper
(arXiv 1611.01838) and its public code quote the inverse, a stiffness. The same letters mean the same in all files:
x the weights at the start of a step, y where a gradient is taken, mu the average of y, d the direction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from . import middle
from .closure import NEW_GROUP, refuse_zero
from .finite import Finiteness
from .hyperparameters import CHOSEN_ONCE, check_ranges, check_rules, scoped_gamma
from .outer import KEYS, OF_ADAMW_RULE, OF_MOMENTUM
from .scratch import Block, Buffers, Noise, Workspace, copy_
from .shards import plain
from .state import Rewind, check_state_dict, restore_counts
from .stepping import Stepping


class Relaxation(Stepping):
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
    # Are all steps the same work to the host, so that a graph may replay one? A class says so in its own body.
    same_each_step = False
    # Equal parts of a step's evaluations, in their order, that ranks may divide among themselves; 1: none. The first
    # of a part is on a batch of its own. A number in the class's body, but for replicas.
    parts: int = 1
    replicated: ClassVar[bool] = False  # are they replicas, with state of their own, so that ranks share nothing else?
    here: range | None = None  # the parts of this rank; None: all
    choice = ""  # whose rows of `hyperparameters.RANGES` hold
    # This process's chain, mixed into the noise. Never saved: every rank would load rank 0's.
    chain: int = 0
    rates: Mapping[int, Tensor] | None = None  # lr on the device, by the id of its group, while a step is captured

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
        self.workspace = Workspace()
        self._noise: Noise | None = None
        self.finiteness = Finiteness()
        self.rewind = Rewind()
        self._calls = self.under_way = None
        self.finite: bool | Tensor = True  # were loss and d of the last step? On a GPU a 0-dim tensor there

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's. A step that is only begun restarts with the group, and drops a gradient that is there."""
        if (step := self.under_way) is not None and (step.taken or self.swapped):
            raise ValueError(NEW_GROUP.format(taken=step.taken, all=step.evaluations))
        if self.param_groups:  # a group that joins later shares the count of outer steps
            param_group = {"outer_steps": self.param_groups[0]["outer_steps"], **param_group}
        check_ranges(param_group, self.choice)
        check_rules({**self.defaults, **param_group})
        for key in CHOSEN_ONCE & set(param_group):
            if param_group[key] != self.defaults.get(key):
                raise ValueError(f"{key} must be the same in all parameter groups: give it to the constructor")
        super().add_param_group(param_group)
        if step is not None:
            self.begin()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's. Raises ValueError, before anything changes, for the state dict of another optimizer."""
        check_state_dict(type(self).__name__, state_dict, self.defaults)
        rest, tensors, steps = middle.apart(state_dict)
        super().load_state_dict(rest)
        restore_counts(self, rest)
        if steps:
            middle.resume(self, rest, tensors, steps)

    # What a subclass writes -----------------------------------------------------------------------------------------

    def before(self, i: int, blocks: list[Block]) -> None:
        """Move the parameters to the y at which gradient i, of `evaluations`, is to be taken. By default they stay."""

    def after(self, i: int, blocks: list[Block]) -> None:
        """Take in gradient i, `block.gradients()`. After the last one `block.d` is the direction.

        What is kept from one gradient to the next lies in tensors: `block.d`, `scratch`, `buffers`.
        """
        raise NotImplementedError

    def again(self, i: int) -> bool:
        """Is gradient i of a step taken on the mini-batch of gradient i - 1, with the same random numbers?

        It counts as an evaluation like any other. By default each gradient is on the next mini-batch; the first one of
        a step always is.
        """
        return False

    def settings(self, group: dict[str, Any]) -> dict[str, Any]:
        """The hyper-parameters of a group as the step reads them: a class may derive some from others."""
        return group

    @property
    def evaluations(self) -> int:
        """Closure calls, that is mini-batch gradients, of one step."""
        return int(self.shared(self.evaluations_key)) if self.evaluations_key else 1

    @property
    def mine(self) -> range:
        """The numbers of the parts that this process takes."""
        return range(self.parts) if self.here is None else self.here

    @property
    def evaluations_here(self) -> int:
        """Closure calls of one step in this process: all, but where ranks divide its parts."""
        return self.evaluations // self.parts * len(self.mine)

    def divide(self, rank: int, world: int) -> None:
        """Rank `rank` of `world` takes its equal share of the parts; d is then the mean over ranks of what they have.

        Raises ValueError if there are no equal shares.
        """
        if self.parts % world:
            name = self.evaluations_key if self.replicated else "parts"
            raise ValueError(f"{name}={self.parts} cannot be divided equally among {world} ranks")
        each = self.parts // world
        self.here = range(rank * each, (rank + 1) * each)

    def forget_others(self) -> None:
        """Drop state of parts that are not of this rank, after a state dict was loaded that has it."""

    def scalars(self) -> dict[str, float]:
        """The hyper-parameters in force in the first group, for a log."""
        group = self.settings(self.param_groups[0])
        moves = {"inner_lr": float(group["inner_lr"])} if "initial_inner_lr" in group else {}  # by a schedule
        return {"lr": float(group["lr"]), **moves} | ({"gamma": scoped_gamma(group)} if "gamma" in group else {})

    def rate(self, group: dict[str, Any]) -> float:
        """lr as a step reads it."""
        return float(self.read(group)[0]["lr"])

    def read(self, group: dict[str, Any]) -> tuple[dict[str, Any], float | Tensor]:
        """The hyper-parameters of the group as a step works with them, and lr of the outer rule."""
        values = self.settings({**group, "lr": float(group["lr"])})
        check_rules(values)  # a change by hand
        return values, values["lr"] if self.rates is None else self.rates[id(group)].float()

    def block(self, group: dict[str, Any]) -> Block:
        """The group as a step works with it."""
        self.workspace.fit(self._trainable())
        params = [p for p in group["params"] if p.requires_grad]
        y = [self.workspace.numbers[p] for p in params]
        x = self.scratch("x", y) if self.moves else y
        values, rate = self.read(group)
        block = Block(values, params, y, x, self.scratch("d", y), rate, self.workspace.plain)
        if self.moves:
            copy_(block.x, block.y)
        return block

    # What a log or a loop may ask after a step ------------------------------------------------------------------------

    def direction_norm(self) -> Tensor:
        """Euclidean norm of the last step's d over all parameters, a 0-dim tensor."""
        norm = self.finiteness.norm
        if norm is None:
            raise RuntimeError("direction_norm() is known after a step only")
        return torch.as_tensor(norm, dtype=None if isinstance(norm, Tensor) else torch.float64)

    def nonfinite_steps(self) -> tuple[int, int]:
        """How many outer steps since the last call had a loss or d that was not finite, and the number of the first.

        (0, 0) if none had. Waits for the device.
        """
        return self.finiteness.count(self.param_groups[0]["outer_steps"])

    def memory(self) -> int:
        """Bytes that the optimizer holds between steps: its state and the buffers that steps reuse."""
        tensors = [plain(t) for state in self.state.values() for t in state.values()]
        tensors += [t for buffers in self.workspace.held.values() for t in buffers.flats]
        return sum(t.nbytes for t in tensors)

    # Tools for subclasses ---------------------------------------------------------------------------------------------

    def buffers(self, name: str) -> Buffers:
        """Scratch memory shaped like the parameters that require a gradient, kept from step to step under this name."""
        if not self.workspace.numbers:  # no step has been taken
            self.workspace.fit(self._trainable())
        return self.workspace.buffers(name)

    def scratch(self, name: str, params: list[Tensor]) -> list[Tensor]:
        """One tensor of `buffers(name)` for each of these parameters."""
        return self.buffers(name).like(params)

    def noise(self, i: int = 0) -> Noise:
        """The Gaussians of this step, a function of (seed, outer step, chain). i = 0 starts their sequence."""
        self._noise = self._noise or Noise()
        if i == 0:
            self._noise.seed(self.shared("seed"), self.param_groups[0]["outer_steps"], self.chain)
        return self._noise

    def draws(self) -> int:
        """How often the step has drawn noise."""
        return self._noise.draws if self._noise is not None else 0

    def _trainable(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"] if p.requires_grad]

    def shared(self, key: str) -> Any:
        """A hyper-parameter of the step as a whole. ValueError if the parameter groups disagree on it."""
        values = {group[key] for group in self.param_groups}
        if len(values) > 1:
            raise ValueError(f"{key} must be the same in all parameter groups, not {sorted(values)}")
        return values.pop()
