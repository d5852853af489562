"""Define a network whose depth is the time of a differential equation."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from .hyperparameters import check_ranges
from .integrators import SOLVERS, integrate


class OdeField(nn.Module):
    """f(t, x): group norm, SiLU and 3x3 convolution, twice; x (batch, width, side, side).

    With `time` each convolution sees t as one more channel. Weights are those of the knots, linear in between:
    theta(t) = sum_j hat_j(t) theta_j, hat_j 1 at t = j/(knots - 1) and 0 at the other knots, all theta_j equal at
    first. f is autonomous without `time` and with one knot: then p.f, p = dL/dx, is constant along depth.

    SiLU, for where f is smooth a solver has its order. Group norm, for one layer is called at many t, between which
    batch statistics would differ, and for no image's p is to depend on another image.
    """

    def __init__(self, width: int, *, time: bool, knots: int) -> None:
        super().__init__()
        self.time, self.groups = time, math.gcd(width, 8)
        first: dict[str, Tensor | None] = {}
        for i in (1, 2):
            convolution = nn.Conv2d(width + time, width, 3)
            norm = nn.GroupNorm(self.groups, width)
            first |= {f"scale{i}": norm.weight, f"shift{i}": norm.bias}
            first |= {f"weight{i}": convolution.weight, f"bias{i}": convolution.bias}
        self.knots = nn.ModuleList(nn.ParameterDict(copy.deepcopy(first)) for _ in range(knots))

    def weights(self, t: float) -> dict[str, Tensor]:
        """theta(t), t in [0, 1]."""
        place = t * (len(self.knots) - 1)
        j = max(min(int(place), len(self.knots) - 2), 0)
        theta: dict[str, Tensor] = dict(self.knots[j].named_parameters())
        if place == j:
            return theta
        following = dict(self.knots[j + 1].named_parameters())
        return {name: torch.lerp(value, following[name], place - j) for name, value in theta.items()}

    def forward(self, t: float, x: Tensor) -> Tensor:
        theta = self.weights(t)
        for i in (1, 2):
            x = nn.functional.group_norm(x, self.groups, theta[f"scale{i}"], theta[f"shift{i}"])
            x = nn.functional.silu(x)
            if self.time:
                x = torch.cat([x, x.new_full((len(x), 1, *x.shape[2:]), t)], 1)
            x = nn.functional.conv2d(x, theta[f"weight{i}"], theta[f"bias{i}"], padding=1)
        return x


class OdeNet(nn.Module):
    """head(x(1)), dx/dt = f(t, x), x(0) = stem(image): residual blocks in the limit, solved by equal steps.

    Input (batch, channels, size, size), output (batch, classes). The stem is two 3x3 convolutions of stride 2, the
    head group norm, SiLU, a mean over the image, and a linear map. 29,226 parameters on MNIST.

    Source: Ruseckas, arXiv 1909.03767, differential equations as models of networks, and ODE-Net, arXiv 1806.07366.
    f is the residual branch of arXiv 1603.05027, with group norm and SiLU. Differs from ODE-Net: steps of one size, so
    that every gradient costs the same, differentiated as they are; there the adjoint equation is solved backwards.

    Args:
        channels, image_size, classes: of the data set; image_size in pixels.
        width: channels of x.
        solver: "euler", "midpoint" or "rk4", which take 1, 2 and 4 values of f a step.
        steps: of the solver.
        time: does f see t?
        knots: sets of weights, at even distances in t; 1 shares one set over all of depth. At most `steps`, for each
            set is to be used.
    """

    def __init__(
        self,
        channels: int,
        image_size: int,
        classes: int,
        width: int = 32,
        solver: str = "rk4",
        steps: int = 2,
        time: bool = True,
        knots: int = 1,
    ) -> None:
        super().__init__()
        check_ranges(width=width, solver=solver, steps=steps, time=time, knots=knots)
        if knots > steps:
            raise ValueError(f"knots={knots} must be at most steps={steps}, for else some weights are never used")
        self.solver, self.steps = solver, steps
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=2, padding=1),  # (batch, width, 14, 14) for 28 x 28
            nn.GroupNorm(math.gcd(width, 8), width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),  # (batch, width, 7, 7)
        )
        self.field = OdeField(width, time=time, knots=knots)
        self.head = nn.Sequential(
            nn.GroupNorm(math.gcd(width, 8), width),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, classes),
        )

    def advance(self, t: float, x: Tensor, h: float) -> Tensor:
        """x(t + h) from x = x(t), by one step of the solver."""
        return SOLVERS[self.solver](self.field, t, x, h)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(integrate(self.field, self.stem(images), self.steps, self.solver))
        return logits
