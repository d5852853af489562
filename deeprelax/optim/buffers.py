"""Scratch memory shaped like the parameters."""

from __future__ import annotations

import torch
from torch import Tensor


class Buffers:
    """A tensor like each parameter, all of a device and data type in one flat tensor; contents undefined at first.

    What is done to all numbers alike (a draw, a mask) is one operation on `flats`; what takes the parameters or their
    gradients goes over `like`, whose tensors have the parameters' own memory format.
    """

    def __init__(self, params: list[Tensor]) -> None:
        sizes: dict[tuple[torch.device, torch.dtype], int] = {}
        for p in params:
            sizes[p.device, p.dtype] = sizes.get((p.device, p.dtype), 0) + p.numel()
        flats = {key: torch.empty(n, device=key[0], dtype=key[1]) for key, n in sizes.items()}
        self.flats = list(flats.values())
        self._views: dict[Tensor, Tensor] = {}
        offsets = dict.fromkeys(sizes, 0)
        for p in params:
            key = (p.device, p.dtype)
            strides = torch.empty_like(p, device="meta").stride()  # dense
            self._views[p] = flats[key].as_strided(p.shape, strides, offsets[key])
            offsets[key] += p.numel()

    def like(self, params: list[Tensor]) -> list[Tensor]:
        """One tensor for each of these parameters."""
        return [self._views[p] for p in params]
