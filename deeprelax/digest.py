"""A 64-bit digest of tensors' bytes, computed on their device."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

PIECE = 2**22  # numbers at once: what it takes for the time is a few times eight bytes each
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@torch.no_grad()
def digest(tensors: Iterable[Tensor]) -> Tensor:
    """sum_i w_i b_i modulo 2^64 of the numbers' bits b_i, read as integers: a 0-dim int64 tensor on their device.

    i counts through all tensors, each in the order of its indices, whatever its memory format. w_i is odd, a mixture of
    the bits of i: another bit in one number always changes the digest, and other differences leave it as it was once
    in about 2^63 times. Integers that wrap around add up to the same in any order, so neither the device, the number of
    threads nor any rounding matters: equal bytes, equal digests. It finds accidents, it is no signature.
    """
    total, start = torch.zeros((), dtype=torch.int64), 0
    for tensor in tensors:
        flat = (torch.view_as_real(tensor) if tensor.is_complex() else tensor).detach().reshape(-1)
        total = total.to(flat.device)
        for piece in flat.split(PIECE):
            bits = piece.view(_INTEGERS[piece.element_size()]).to(torch.int64)
            total = total + _weights(start, len(bits), flat.device).mul_(bits).sum()
            start += len(bits)
    return total


def drifted(rank: int, world: int, sum_: Callable[[Tensor], None], tensors: Iterable[Tensor]) -> list[int]:
    """The ranks whose tensors are not those of rank 0, bit for bit; to be called on all ranks, which find the same.

    sum_ adds a tensor up over the ranks, in place.
    """
    if world == 1:
        return []
    mine = digest(tensors)
    found = mine.new_zeros(world)
    found[rank] = mine
    sum_(found)  # each rank has filled a place of its own
    return [int(other) for other in (found != found[0]).nonzero()]


def _weights(start: int, count: int, device: torch.device) -> Tensor:
    """The odd weights of the numbers from `start` on, (count,)."""
    mixed = torch.arange(start + 1, start + 1 + count, device=device)
    for factor in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9):
        mixed = mixed.mul_(factor - 2**64)  # as a signed number
        mixed = mixed.bitwise_xor_(mixed >> 31)
    return mixed.bitwise_or_(1)
