"""Means over ranks, in few operations: of gradients as one flat tensor, of directions where they lie.

`told` are a few small tensors, the loss and what else the ranks tell each other, that travel with the rest. `sum_` adds
a tensor up over the `world` ranks, in place; every rank calls it for the same tensors in the same order.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from .scratch import Buffers

Sum = Callable[[Tensor], None]
OWN_LOSS = (
    "this optimizer goes by the loss, and each of {world} ranks has its own: if they share a batch, as under "
    "DistributedDataParallel, their weights drift apart. Set optimizer.reduce_loss to a function that averages a "
    "tensor over them, in place; or, where each trains a network of its own, to one that does nothing"
)
LEAST = 4  # bytes of a number that a loss may travel as: half precision ends at 65504


def own_loss(loss: Tensor) -> None:
    """In the place of `reduce_loss` where there is none: leaves the loss as it is, and warns once of other ranks."""
    if not torch.compiler.is_compiling():
        _warn_of_ranks()


@functools.cache
def _warn_of_ranks() -> None:
    ranks = torch.distributed
    if ranks.is_available() and ranks.is_initialized() and ranks.get_world_size() > 1:
        warnings.warn(OWN_LOSS.format(world=ranks.get_world_size()), stacklevel=8)


@torch.no_grad()
def mean_(tensors: list[Tensor], world: int, sum_: Sum) -> None:
    """Each to its mean, in place: one sum of all of them."""
    flat = _packed(tensors)
    sum_(flat)
    flat /= world
    _unpack(flat, tensors)


@torch.no_grad()
def mean_directions_(flats: list[Tensor], d: list[Tensor], told: list[Tensor], world: int, sum_: Sum) -> None:
    """All `d`, which lie in `flats`, the tensors of `Buffers`, behind which `told` has room: one sum a flat tensor.

    Where they lie elsewhere, as those of a class that replaces `block.d`, as `mean_`.
    """
    places = {flat.untyped_storage().data_ptr() for flat in flats}
    widest = max(flats, key=lambda flat: flat.element_size(), default=None)
    elsewhere = any(each.untyped_storage().data_ptr() not in places for each in d)
    if elsewhere or widest is None or widest.element_size() < LEAST:
        mean_([*d, *told], world, sum_)
        return
    line = _packed(told).to(widest.dtype)
    for flat in flats:
        if flat is not widest:
            sum_(flat)
            flat /= world
    whole = Buffers.roomy(widest, len(line))
    whole[len(widest) :] = line
    sum_(whole)
    whole /= world
    _unpack(whole[len(widest) :], told)


@torch.no_grad()
def mean_gradients_(params: list[Tensor], told: list[Tensor], world: int, sum_: Sum) -> None:
    """The .grad of those that have one, which becomes a view of the mean: nothing is copied back.

    One sum a data type. Divided before it, as torch's DistributedDataParallel does.
    """
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for p in params:
        if p.grad is not None:
            by_type.setdefault(p.grad.dtype, []).append(p)
    wide = [dtype for dtype in by_type if dtype.is_floating_point and dtype.itemsize >= LEAST]
    carries = max(wide, key=lambda dtype: dtype.itemsize, default=None)
    if carries is None:
        mean_(told, world, sum_)
    for dtype, alike in by_type.items():
        gradients = [p.grad for p in alike if p.grad is not None]
        lines = [_line(gradient) for gradient in gradients]
        behind = [t.reshape(-1).to(dtype) for t in told] if dtype is carries else []
        flat = torch.cat([*lines, *behind]).div_(world)
        sum_(flat)
        *means, rest = flat.split([*map(len, lines), sum(map(len, behind))])
        for p, gradient, mean in zip(alike, gradients, means, strict=True):
            p.grad = _like(gradient, mean)
        if behind:
            _unpack(rest, told)


def _packed(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.reshape(-1) for t in tensors])


def _unpack(line: Tensor, tensors: list[Tensor]) -> None:
    for t, part in zip(tensors, line.split([t.numel() for t in tensors]), strict=True):
        t.copy_(part.reshape(t.shape))


def _is_dense(tensor: Tensor) -> bool:
    return tensor.is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last)


def _line(tensor: Tensor) -> Tensor:
    """Its numbers in a row, (numbers,); where there are no gaps without a copy, in the order of the memory."""
    return tensor.as_strided((tensor.numel(),), (1,)) if _is_dense(tensor) else tensor.reshape(-1)


def _like(tensor: Tensor, line: Tensor) -> Tensor:
    """What `_line` made of a tensor like this one, as such a tensor again: a view."""
    if not _is_dense(tensor):
        return line.view(tensor.shape)
    return line.as_strided(tensor.shape, tensor.stride(), line.storage_offset())
