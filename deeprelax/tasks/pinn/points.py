"""Where a physics-informed loss is taken: points of the domain, of its first moment and of its walls."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from ..equations import Equation


@dataclass(frozen=True, slots=True)
class Domain:
    """The box of an equation, time first; random numbers in [0, 1) become points in it."""

    low: Tensor  # (d,)
    high: Tensor
    axes: tuple[int, ...]  # of space

    @classmethod
    def of(cls, equation: Equation, device: torch.device, dtype: torch.dtype) -> Domain:
        """That of an equation."""
        low, high = (torch.tensor(ends, device=device, dtype=dtype) for ends in (equation.low, equation.high))
        return cls(low, high, tuple(range(1, len(equation.low))))

    def interior(self, numbers: Tensor) -> Tensor:
        """(n, d) in [0, 1) to points of the domain."""
        return self.low + (self.high - self.low) * numbers

    def initial(self, numbers: Tensor) -> Tensor:
        """(n, d - 1) in [0, 1) to points (n, d) at the first moment."""
        return self.interior(torch.cat([torch.zeros_like(numbers[:, :1]), numbers], 1))

    def walls(self, numbers: Tensor) -> Tensor:
        """(n, d) in [0, 1) to points (n, axes, 2, d) on the low and the high wall of each axis of space."""
        points = self.interior(numbers)
        places = torch.arange(len(self.low), device=points.device)
        ends = [
            torch.where(places == axis, end, points)
            for axis, end in itertools.product(self.axes, (self.low, self.high))
        ]
        return torch.stack(ends, 1).reshape(len(points), len(self.axes), 2, len(self.low))

    def scaled(self, points: Tensor) -> Tensor:
        """Points of the domain to [-1, 1]^d."""
        return 2 * (points - self.low) / (self.high - self.low) - 1

    def grid(self, counts: tuple[int, ...]) -> Tensor:
        """(n, d): all points of a grid with so many along each dimension, ends included, the last dimension fastest."""
        lines = [
            torch.linspace(float(a), float(b), n, device=self.low.device, dtype=self.low.dtype)
            for a, b, n in zip(self.low, self.high, counts, strict=True)
        ]
        return torch.cartesian_prod(*lines)


def numbers(generator: torch.Generator, count: int, dimensions: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Numbers in [0, 1) for the interior, the first moment and the walls, on the CPU: evenly spread, shifted at random.

    Each is uniform, so a mean over the points is an unbiased estimate of the integral, with less variance than that of
    independent ones. The sequence x_i = i (1/p, 1/p^2, ...) mod 1, p^(d + 1) = p + 1, is M. Roberts's.
    """
    return tuple(_spread(generator, count, width, dtype) for width in (dimensions, dimensions - 1, dimensions))


def _spread(generator: torch.Generator, count: int, width: int, dtype: torch.dtype) -> Tensor:
    p = 2.0
    for _ in range(40):
        p = (1 + p) ** (1 / (width + 1))
    steps = torch.tensor([p**-j for j in range(1, width + 1)], dtype=torch.float64)
    shift = torch.rand(width, generator=generator, dtype=torch.float64)
    return ((torch.arange(count, dtype=torch.float64)[:, None] * steps + shift) % 1).to(dtype)
