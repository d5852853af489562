"""Small networks on a GPU: cut long tensors up, so that kernels over lists of tensors fill the chip.

torch's foreach and fused kernels start a block of threads for each tensor and each 65,536 numbers: LeNet's 131,220
numbers get 13 blocks, where a Hopper GPU has 132 multiprocessors. Cut into pieces of 4096 the same operations took a
quarter of the time there (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

SMALLEST, WANTED, LARGEST = 4096, 48, 32768  # numbers of a piece at least; pieces; a piece that needs no cutting


class InPieces(TorchDispatchMode):
    """Within it in-place foreach and fused operations get views of pieces. They do the same to each number.

    For a capture alone: on the host it costs more than it gains.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name()
        if name.startswith(("aten::_foreach_", "aten::_fused_")) and name.partition(".")[0].endswith("_"):
            args = cut(args)
        return func(*args, **(kwargs or {}))


def cut(args: Sequence[Any]) -> list[Any]:
    """The arguments of a foreach operation with all lists of its first one's length in pieces; as they are if long."""
    tensors = args[0]
    lists = [a for a in args if isinstance(a, list | tuple) and len(a) == len(tensors)]
    size = max(SMALLEST, sum(t.numel() for t in tensors) // WANTED)
    if size >= LARGEST or not all(_fit(tensors, others) for others in lists):
        return list(args)
    pieces = [max(1, -(-t.numel() // size)) for t in tensors]

    def of(values: Sequence[Any]) -> list[Any]:
        found: list[Any] = []
        for value, like, count in zip(values, tensors, pieces, strict=True):
            whole = isinstance(value, Tensor) and value.ndim == like.ndim > 0
            found += _flat(value).split(size) if whole else [value] * count
        return found

    return [of(a) if any(a is each for each in lists) else a for a in args]


def _fit(tensors: Sequence[Tensor], others: Sequence[Any]) -> bool:
    """Are the others numbers, 0-dim tensors, or laid out as the tensors are?"""
    return all(
        not isinstance(t, Tensor) or t.ndim == 0 or (t.shape == p.shape and t.stride() == p.stride() and _dense(t))
        for t, p in zip(others, tensors, strict=True)
    )


def _dense(t: Tensor) -> bool:
    return torch.empty_like(t, device="meta").stride() == t.stride()


def _flat(t: Tensor) -> Tensor:
    return t.as_strided((t.numel(),), (1,))
