"""A box of coordinates: points in it, evenly spread or on a grid, and what a network is given for them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Box:
    """From low (d,) to high (d,)."""

    low: Tensor
    high: Tensor

    def interior(self, numbers: Tensor) -> Tensor:
        """(n, d) in [0, 1) to points of the box."""
        return self.low + (self.high - self.low) * numbers

    def scaled(self, points: Tensor) -> Tensor:
        """Points of the box to [-1, 1]^d."""
        return 2 * (points - self.low) / (self.high - self.low) - 1

    def grid(self, counts: tuple[int, ...]) -> Tensor:
        """(n, d): all points of a grid with so many along each dimension, ends included, the last dimension fastest."""
        lines = [
            torch.linspace(float(a), float(b), n, device=self.low.device, dtype=self.low.dtype)
            for a, b, n in zip(self.low, self.high, counts, strict=True)
        ]
        return torch.cartesian_prod(*lines).reshape(-1, len(counts))


def sequence(count: int, width: int) -> Tensor:
    """x_i = i (1/p, 1/p^2, ...), p^(width + 1) = p + 1, (count, width), float64 on the CPU: modulo 1 evenly spread.

    With a uniform shift added each x_i is uniform, so a mean over them is an unbiased estimate of an integral, and it
    scatters less than one over independent points. The sequence is M. Roberts's.
    """
    p = 2.0
    for _ in range(40):
        p = (1 + p) ** (1 / (width + 1))
    steps = torch.tensor([p**-j for j in range(1, width + 1)], dtype=torch.float64)
    return torch.arange(count, dtype=torch.float64)[:, None] * steps


def spread(count: int, shift: Tensor) -> Tensor:
    """The `sequence` shifted by (width,), modulo 1: (count, width) in [0, 1), float64, on the shift's device."""
    found: Tensor = (sequence(count, len(shift)).to(shift.device) + shift) % 1
    return found
