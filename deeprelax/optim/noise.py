"""Gaussian noise for all parameters at once, a function of a key and of nothing else."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Noise:
    """Standard Gaussians shaped like the parameters: one flat draw for each device and data type.

    Drawing is most of the cost of Langevin dynamics on a CPU; one large contiguous draw is the fastest form. The
    generators are our own and are seeded for each step, so a resumed run and every rank draw the same numbers without
    saving or sending any state.
    """

    def __init__(self, params: list[Tensor]) -> None:
        self._params = params
        sizes: dict[tuple[torch.device, torch.dtype], int] = {}
        for p in params:
            sizes[p.device, p.dtype] = sizes.get((p.device, p.dtype), 0) + p.numel()
        self._flat = {key: torch.empty(n, device=key[0], dtype=key[1]) for key, n in sizes.items()}
        self._generators = {device: torch.Generator(device) for device, _ in sizes}
        self._views: dict[Tensor, Tensor] = {}
        offsets = dict.fromkeys(sizes, 0)
        for p in params:
            key = (p.device, p.dtype)
            strides = torch.empty_like(p, device="meta").stride()  # dense, in the parameter's own memory format
            self._views[p] = self._flat[key].as_strided(p.shape, strides, offsets[key])
            offsets[key] += p.numel()

    def covers(self, params: list[Tensor]) -> bool:
        """Were the buffers made for exactly these parameters?"""
        return len(params) == len(self._params) and all(a is b for a, b in zip(params, self._params, strict=True))

    def seed(self, *key: int) -> None:
        """Start the sequence of draws that belongs to these non-negative integers."""
        # "Nois" keeps the keys apart from those that a caller may use for seeds of other things.
        # CPU generators keep 32 bits of the seed only, so neighbouring keys must not give neighbouring seeds.
        seed = int(np.random.SeedSequence((0x4E6F6973, *key)).generate_state(1, np.uint64)[0])
        for generator in self._generators.values():
            generator.manual_seed(seed)

    def draw(self) -> None:
        """Fill the buffers with fresh N(0, 1) numbers."""
        for (device, _), flat in self._flat.items():
            flat.normal_(generator=self._generators[device])

    def buffers(self) -> list[Tensor]:
        """What the draws are written to."""
        return list(self._flat.values())

    def like(self, params: list[Tensor]) -> list[Tensor]:
        """The last draw, one tensor for each parameter, valid until the next draw."""
        return [self._views[p] for p in params]
