"""torch's base class of optimizers, without what it loads for a compiler that most programs never use."""

from __future__ import annotations

import inspect
from typing import Any

import torch


class Optimizer(torch.optim.Optimizer):
    """`torch.optim.Optimizer` whose methods do not import torch's compiler.

    torch keeps these methods out of its compiler by wrapping them, and the wrapper imports the compiler: over a second
    at the start of a program that does not compile.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        _OWN["add_param_group"](self, param_group)

    def state_dict(self) -> dict[str, Any]:
        return _OWN["state_dict"](self)  # type: ignore[no-any-return]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        _OWN["load_state_dict"](self, state_dict)

    def zero_grad(self, set_to_none: bool = True) -> None:
        _OWN["zero_grad"](self, set_to_none)


_OWN = {
    name: inspect.unwrap(getattr(torch.optim.Optimizer, name))
    for name in ("add_param_group", "state_dict", "load_state_dict", "zero_grad")
}
