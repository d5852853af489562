"""`torch.optim.LBFGS` as `lbfgs.py` takes it: its step, the most that one costs, its state kept and put back."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ._lazy import Optimizer
from .scratch import copy_

OF_TORCH = ("line_search_fn", "maximize")  # in its groups, beside the hyper-parameters; older releases lack the second
# without the hooks around it, which the step of the class that calls it has already
torch_step: Callable[..., Tensor] = inspect.unwrap(torch.optim.LBFGS.step)


class TorchLBFGS(Optimizer, torch.optim.LBFGS):
    """`torch.optim.LBFGS`, without loading torch's compiler; its copies and pickles step, too."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._params, self._numel_cache = self.group["params"], None

    def descend(self, closure: Callable[[], Tensor], left: int | None) -> Tensor:
        """Torch's step, by no more than `left` closure calls."""
        group = self.group
        if not float(group["lr"]):  # the line search would divide by it
            return closure()
        most = group["max_eval"]
        group["max_eval"] = most if left is None else min(most, left - overshoot())
        assert group["max_eval"] > 0, "a step needs `least` evaluations"
        try:
            return torch_step(self, closure)
        finally:
            group["max_eval"] = most

    @contextmanager
    def undone_by_errors(self) -> Iterator[Before]:
        """Around a step: what was before it, put back if it raises. In the end no parameter has a .grad."""
        before = Before(self)
        try:
            yield before
        except BaseException:
            before.back()
            raise
        finally:
            self.clear()

    def clear(self) -> None:
        """No parameter has a .grad."""
        for p in self._params:
            p.grad = None

    @property
    def group(self) -> dict[str, Any]:
        """The one group of parameters."""
        return self.param_groups[0]


@functools.cache
def overshoot() -> int:
    """By how much the closure calls of a step may exceed its max_eval, with the torch that is installed.

    A line search takes one trial and up to max_ls more; max_eval is asked between line searches alone. torch 2.15 has
    max_ls = max_eval - (calls so far), so that a step has max_eval + 1 calls at most. Older releases always have 25:
    max_eval + 25 calls, or 27 where max_eval is 1. Descent without end, f(x) = -x, with max_eval 1 shows which.
    """
    x, calls = torch.zeros(1, device="cpu"), []

    def closure() -> Tensor:
        calls.append(x.grad)
        x.grad = -torch.ones_like(x)
        return -x.sum()

    with torch.no_grad():
        torch_step(TorchLBFGS([x], max_iter=1, max_eval=1, line_search_fn="strong_wolfe"), closure)
    return len(calls) - 1


class Before:
    """Weights and state as a step finds them."""

    def __init__(self, optimizer: TorchLBFGS) -> None:
        self._params, self._state = optimizer._params, optimizer.state
        self.x = [p.clone() for p in self._params]
        self._kept = self._state.get(self._params[0])
        if self._kept is not None:  # torch changes lists, and this tensor, in place: it gets others to change
            copies = {key: [*value] for key, value in self._kept.items() if isinstance(value, list)}
            copies |= {key: self._kept[key].clone() for key in ("prev_flat_grad",) if key in self._kept}
            self._state[self._params[0]] = {**self._kept, **copies}

    def back(self) -> None:
        """Put them back."""
        copy_(self._params, self.x)
        self._state.pop(self._params[0], None)
        if self._kept is not None:
            self._state[self._params[0]] = self._kept


def norm_of(tensors: list[Tensor]) -> float:
    """Euclidean, in double precision: squares of large float32 numbers are none."""
    norms = [torch.linalg.vector_norm(t.abs() if t.is_complex() else t, dtype=torch.float64) for t in tensors]
    return torch.stack(norms).square().sum().sqrt().item() if norms else 0.0


def copied(kept: Any, device: torch.device) -> Any:
    """A state with its tensors on the device, in the data types that they have."""
    if isinstance(kept, dict):
        return {key: copied(value, device) for key, value in kept.items()}
    if isinstance(kept, list):
        return [copied(value, device) for value in kept]
    return kept.to(device, copy=True) if torch.is_tensor(kept) else kept


def tensors_of(kept: Any) -> Iterator[Tensor]:
    """All that a state holds."""
    if torch.is_tensor(kept):
        yield kept
    for value in kept.values() if isinstance(kept, dict) else kept if isinstance(kept, list) else ():
        yield from tensors_of(value)
