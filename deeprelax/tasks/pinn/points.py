"""Where a physics-informed loss is taken: points of the domain, of its first moment and of its walls."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from ..equations import Equation
from ..equations.box import Box, spread


@dataclass(frozen=True, slots=True)
class Domain(Box):
    """The box of an equation, time first; random numbers in [0, 1) become points in it."""

    axes: tuple[int, ...]  # of space

    @classmethod
    def of(cls, equation: Equation, device: torch.device, dtype: torch.dtype) -> Domain:
        """That of an equation."""
        low, high = (torch.tensor(ends, device=device, dtype=dtype) for ends in (equation.low, equation.high))
        return cls(low, high, tuple(range(1, len(equation.low))))

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


def numbers(generator: torch.Generator, count: int, dimensions: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Numbers in [0, 1) for the interior, the first moment and the walls, on the CPU: evenly spread, shifted at random.

    Each kind with a shift of its own.
    """
    shifts = [
        torch.rand(width, generator=generator, dtype=torch.float64)
        for width in (dimensions, dimensions - 1, dimensions)
    ]
    return tuple(spread(count, shift).to(dtype) for shift in shifts)
