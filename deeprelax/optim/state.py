"""What a step keeps in `state`: where it lies, how a failed step puts it back, and what a state dict must hold."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol

import torch
from torch import Tensor

from .hyperparameters import CHOSEN_ONCE, RANGES
from .scratch import Block, Workspace, copy_
from .shards import plain

State = MutableMapping[Any, Any]  # the optimizer's: parameter to a dictionary of tensors
INNER = "inner_"  # what the names of an inner chain's state begin with
REPLICA = "replica_"  # and those of a replica's, before its number
# how the names of state end that is one number for each parameter, whatever the parameter's data type
COUNTS = {"step": torch.float32, "weight_sum": torch.float64}


def slots(state: State, params: list[Tensor], name: str) -> list[Tensor]:
    """The numbers of state[p][name] of each parameter, zeros at first."""
    for p in params:
        if name not in state[p]:
            state[p][name] = torch.zeros_like(p)
    return [plain(state[p][name]) for p in params]


def starting_at_x(state: State, block: Block, name: str) -> list[Tensor]:
    """The numbers of state[p][name] of each parameter, x at first."""
    for p, x in zip(block.params, block.x, strict=True):
        if name not in state[p]:
            state[p][name] = torch.zeros_like(p)
            plain(state[p][name]).copy_(x)
    return [plain(state[p][name]) for p in block.params]


def counts(state: State, params: list[Tensor], name: str) -> list[Tensor]:
    """state[p][name] of each parameter as a 0-dim tensor on its device, of the type in `COUNTS`; 0 at first."""
    dtype = next(dtype for end, dtype in COUNTS.items() if name.endswith(end))
    for p in params:
        found = state[p].get(name)
        if found is None or found.device != p.device:  # a checkpoint's may lie elsewhere: torch leaves a "step" there
            zero = torch.zeros((), dtype=dtype, device=p.device)
            state[p][name] = zero if found is None else found.to(p.device)
    return [state[p][name] for p in params]


def steps_taken(state: State, params: list[Tensor], name: str) -> list[Tensor] | list[float]:
    """The counts with one more, on a CPU; tensors where a compiler is at work, which would compile for each number."""
    steps = counts(state, params, name)
    torch._foreach_add_(steps, 1)
    return steps if torch.compiler.is_compiling() else [step.item() for step in steps]


class Rewind:
    """Tensors of the state that a step changes before it is known whether it succeeds, and what they were."""

    def __init__(self) -> None:
        self.forget()

    def add(self, now: list[Tensor], then: list[Tensor]) -> None:
        """Remember `now` in `then`."""
        copy_(then, now)
        self.resume(now, then)

    def resume(self, now: list[Tensor], then: list[Tensor]) -> None:
        """Of a step that resumes: `then` is what `now` was when it began."""
        self._now += now
        self._then += then

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Each tensor, and what it was."""
        return list(zip(self._now, self._then, strict=True))

    def forget(self) -> None:
        """A step begins."""
        self._now: list[Tensor] = []
        self._then: list[Tensor] = []

    def back(self, finite: bool | Tensor = False) -> None:
        """Put all back; where `finite` is a tensor on a GPU, as it says."""
        if isinstance(finite, Tensor):
            for now, then in zip(self._now, self._then, strict=True):
                torch.where(finite.to(now.device), now, then, out=now)
        elif not finite:
            copy_(self._now, self._then)


class _Stepper(Protocol):
    rewind: Rewind
    workspace: Workspace

    @property
    def state(self) -> State: ...

    def scratch(self, name: str, params: list[Tensor]) -> list[Tensor]: ...


def chain_state(optimizer: _Stepper, block: Block, name: str, i: int) -> tuple[list[Tensor], bool]:
    """What an inner rule keeps under this name at gradient i, and whether that is undefined, in a chain that starts.

    With inner_state="keep" it lies in `state` under "inner_" and the name, and is put back if the step fails.
    """
    if block.group["inner_state"] == "reset":
        return optimizer.scratch(name, block.y), i == 0
    now = slots(optimizer.state, block.params, INNER + name)
    if i == 0:
        optimizer.rewind.add(now, optimizer.scratch(f"{name} before", block.y))
    return now, False


def chain_steps(optimizer: _Stepper, block: Block, i: int) -> list[Tensor] | list[float]:
    """How many steps an inner rule has done with what it keeps, that of gradient i among them."""
    if block.group["inner_state"] == "reset":
        if torch.compiler.is_compiling():
            return [torch.full((), i + 1.0, device=y.device) for y in block.y]
        return [i + 1.0] * len(block.y)
    _rewind_counts(optimizer, block, i)
    return steps_taken(optimizer.state, block.params, INNER + "step")


def chain_counts(optimizer: _Stepper, block: Block, i: int) -> list[Tensor]:
    """The same for a GPU, that of gradient i not yet counted: tensors there, to be counted up."""
    if block.group["inner_state"] == "reset":
        found = [optimizer.workspace.counter(block.params[0], y) for y in block.y]
        for counter in found if i == 0 else ():
            counter.zero_()
        return found
    _rewind_counts(optimizer, block, i)
    return counts(optimizer.state, block.params, INNER + "step")


def _rewind_counts(optimizer: _Stepper, block: Block, i: int) -> None:
    if i == 0:
        now = counts(optimizer.state, block.params, INNER + "step")
        optimizer.rewind.add(now, [t.clone() for t in now])


def kept_by_chains(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """What the inner rule and replicas keep, by the parameter's number. Each rank keeps its own."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    kept = {
        i: {k: t for k, t in optimizer.state.get(p, {}).items() if k.startswith((INNER, REPLICA))}
        for i, p in enumerate(params)
    }
    return {i: tensors for i, tensors in kept.items() if tensors}


def restore_chains(optimizer: torch.optim.Optimizer, kept: Mapping[int, Mapping[str, Tensor]]) -> None:
    """Put back what `kept_by_chains` returned, on the parameters' devices."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for i, tensors in kept.items():
        optimizer.state[params[i]].update({name: t.to(params[i].device, copy=True) for name, t in tensors.items()})


def wants_state_alone(optimizer: torch.optim.Optimizer) -> bool:
    """Is this the step of torch.distributed.checkpoint, with every lr and gradient 0, that is to allocate the state?"""
    groups = optimizer.param_groups
    grads = [p.grad for group in groups for p in group["params"] if p.requires_grad]
    if optimizer.state or not grads or any(float(group["lr"]) for group in groups):
        return False
    return not any(grad is None or bool(plain(grad).any()) for grad in grads)


def allocate(block: Block, state: State, names: tuple[str, ...]) -> None:
    """State of these names, and what the chain keeps."""
    if block.group.get("inner_state") == "keep":
        velocity = ("velocity",) if block.group["inner_momentum"] else ()
        kept = ("step", "exp_avg", "exp_avg_sq") if block.group["inner"] == "adamw" else velocity
        names += tuple(INNER + name for name in kept)
    for name in names:
        (counts if name.endswith(tuple(COUNTS)) else slots)(state, block.params, name)


def check_state_dict(name: str, state_dict: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raise ValueError if it is not the state dict of an optimizer with these defaults."""
    if not {"state", "param_groups"} <= set(state_dict):
        raise ValueError(f"this is no state dict of {name}: it must hold state and param_groups")
    for group in state_dict["param_groups"]:
        missing, foreign = set(defaults) - set(group), (set(group) & set(RANGES)) - set(defaults)
        other = [key for key in CHOSEN_ONCE & set(defaults) & set(group) if group[key] != defaults[key]]
        for keys, says in ((missing, "it lacks"), (foreign, "it has"), (other, "it has another")):
            if keys:
                said = f"{says} {', '.join(sorted(keys))}"
                raise ValueError(f"this is no state dict of {name}: {said}; load it into the optimizer that it is of")


def restore_counts(optimizer: torch.optim.Optimizer, state_dict: Mapping[str, Any]) -> None:
    """Put counts back as they were stored: torch has rounded all but "step" to the parameters' data type."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    keys = [key for group in state_dict["param_groups"] for key in group["params"]]  # numbers, or names of parameters
    for key, p in zip(keys, params, strict=True):
        found = state_dict["state"].get(key, {})
        for name in (name for name in found if name != "step" and name.endswith(tuple(COUNTS))):
            optimizer.state[p][name] = found[name].clone()
