"""What an equation is: a residual that its solution makes zero, an exact solution, a domain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...errors import UserError
from .derivatives import Field


@dataclass(frozen=True)
class Equation(ABC):
    """A differential equation in t and x (and y) on a box, with one number to choose and one exact solution.

    Points are (n, d), their columns the `inputs`; values are (n, m), their columns the `outputs`.

    The boundary is that in space: "zero" and "periodic" say what they mean, with "exact" the solution's own values are
    prescribed there. At t = low[0] the solution is prescribed, and with order_in_time = 2 its time derivative too.

    Args:
        coefficient: the number, from lowest to highest. UserError, a ValueError, if it is not.
    """

    coefficient: float

    name: ClassVar[str]
    description: ClassVar[str]  # one line
    symbol: ClassVar[str]  # what the coefficient is called in the formulas
    default: ClassVar[float]
    lowest: ClassVar[float]
    highest: ClassVar[float]
    integral: ClassVar[bool] = False  # must the coefficient be an integer?
    inputs: ClassVar[tuple[str, ...]] = ("t", "x")
    outputs: ClassVar[tuple[str, ...]] = ("u",)
    low: ClassVar[tuple[float, ...]]
    high: ClassVar[tuple[float, ...]]
    boundary: ClassVar[Literal["zero", "periodic", "exact"]]
    order_in_time: ClassVar[int] = 1
    order_in_space: ClassVar[int] = 2

    def __post_init__(self) -> None:
        value = self.coefficient
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not self.lowest <= value <= self.highest or (self.integral and value != int(value)):
            kind = "an integer" if self.integral else "a number"
            raise UserError(
                f"the coefficient {self.symbol} of {self.name} must be {kind} from {self.lowest:g} to "
                f"{self.highest:g}, not {value!r}: the default is {self.default:g}"
            )

    @abstractmethod
    def residual(self, field: Field) -> Tensor:
        """(n, r): zero at every point inside for a solution of the equation."""

    @abstractmethod
    def exact(self, points: Tensor) -> Tensor:
        """The solution, (n, m), to some 1e-12 in float64; by automatic differentiation its derivatives too."""

    def initial(self, points: Tensor) -> Tensor:
        """The solution at t = low[0], (n, m), at the places of these points; their times are not looked at."""
        start = torch.full_like(points[:, :1], self.low[0])
        return self.exact(torch.cat([start, points[:, 1:]], 1))
