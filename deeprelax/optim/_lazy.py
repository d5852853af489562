"""torch's base class of optimizers and its compiler's `disable`, without loading the compiler that few programs use."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def outside_compiler(function: Callable[P, R]) -> Callable[P, R]:
    """`torch.compiler.disable`, imported where a compiler is at work.

    For what must not be traced: memory whose views a compiled graph would take for tensors of their own, generators,
    the caller's frames.
    """
    disabled: list[Callable[P, R]] = []

    @functools.wraps(function)
    def call(*args: P.args, **keywords: P.kwargs) -> R:
        if not torch.compiler.is_compiling():
            return function(*args, **keywords)
        if not disabled:
            disabled.append(torch.compiler.disable(function))
        return disabled[0](*args, **keywords)

    # a code object of its own: the compiler counts how often it has seen one, and stops compiling at eight
    call.__code__ = call.__code__.replace(co_name=function.__name__)  # type: ignore[attr-defined]
    return call


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
