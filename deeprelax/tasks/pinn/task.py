"""Physics-informed networks, with conditions that are learned or built in, and points that follow the residual."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...errors import UserError
from ...optim.hyperparameters import given
from ...randomness import Purpose, derive_seed
from ..equations import CATALOG, Field
from ..equations import equation as build
from ..hyperparameters import check_options
from ..metric import Metric
from ..task import Chunks, Setting, Task
from .kept import NAME, Kept
from .points import Domain, numbers

CHUNK = 1000  # points
GRIDS = {2: (101, 101), 3: (21, 51, 51)}  # of the test, by the number of dimensions, time first


class Pinn(Task):
    """f = mean |r|^2 + initial_weight * mean |u - u_0|^2 + boundary_weight * mean |u - wall|^2, by Monte Carlo.

    u is the network's, r the residual of the equation (`tasks.equations`), each mean over new points for each
    evaluation, batch_size of each kind; of wave the initial velocity belongs to the initial term, and periodic walls
    ask for equal values (and slopes, where the equation has second derivatives). With conditions="hard" u is built so
    that the conditions hold, and their terms are 0: u_0 + tau^k w N, tau the share of the time that has passed, k the
    order in time, w a function that vanishes at the walls; periodic inputs come as sine and cosine.

    "relative_l2" is |u - exact| / |exact| on a grid of the domain; "residual", "initial" and "boundary" are the terms
    of the loss there and on fixed points. Networks map inputs in [-1, 1] (batch, dimensions) to (batch, unknowns).

    Source: M. Raissi, P. Perdikaris and G. E. Karniadakis, J. Comput. Phys. 378 (2019); the learned domain
    decomposition (`model=gated_mlp`) arXiv 2009.03730; points by the residual: arXiv 2207.10289, its RAD, k = c = 1.

    Args:
        equation: its name in `tasks.equations.CATALOG`.
        coefficient: its one number; None: the default of the equation.
        points: of each kind in a pass, what epochs counts in.
        conditions: "soft", or "hard", not for walls with values of their own (oscillator).
        initial_weight, boundary_weight: of the terms.
        adaptive: the share of a batch's points that come from a set which follows the residual.
        adapt_every: passes between two choices of that set.
        differentiation: "reverse", or "forward", which torch.compile can take.
    """

    buffers: ClassVar[tuple[str, ...]] = (NAME,)
    metrics = {name: Metric() for name in ("relative_l2", "residual", "initial", "boundary")}  # noqa: RUF012
    derivatives: ClassVar[bool] = True
    noun: ClassVar[str] = "point"
    abbreviation: ClassVar[str] = "pt"
    result_keys: ClassVar[tuple[str, str]] = ("points", "points_per_second")

    def __init__(
        self,
        setting: Setting,
        equation: str = "heat",
        coefficient: float | None = None,
        points: int = 40_000,
        conditions: str = "soft",
        initial_weight: float = 10.0,
        boundary_weight: float = 10.0,
        adaptive: float = 0.0,
        adapt_every: float = 5.0,
        differentiation: str = "reverse",
    ) -> None:
        options = given(locals())
        check_options(options, "pinn")
        super().__init__(setting)
        self.equation = build(equation, coefficient)
        self.examples, self.hard, self.forward = points, conditions == "hard", differentiation == "forward"
        self.compiles = self.forward
        self.weights = (initial_weight, boundary_weight)
        if self.hard and self.equation.boundary == "exact":
            raise UserError(
                f"task.conditions=hard builds in walls that are zero or periodic, and those of {equation} are neither: "
                "use task.conditions=soft"
            )
        self.domain = Domain.of(self.equation, setting.device, setting.dtype)
        periodic = self.equation.boundary == "periodic" and self.hard
        self.shape = {
            "inputs": len(self.equation.inputs) + len(self.domain.axes) * periodic,
            "outputs": len(self.equation.outputs),
        }
        self.fingerprint = f"pinn {sorted({**options, 'coefficient': self.equation.coefficient}.items())}"
        every = max(1, round(adapt_every * points / setting.batch_size))  # evaluations
        self.scheduled = ("adaptive",) if adaptive else ()
        self.kept = Kept(setting, self.domain, adaptive, every) if adaptive else None
        self.counts = GRIDS[len(self.equation.inputs)]
        self.grid = self.domain.grid(self.counts)
        self.exact = self.equation.exact(self.grid)

    @staticmethod
    def listing() -> list[str]:
        """A line for each equation, for `deeprelax tasks pinn`."""
        return [f"{name:<14} {kind.description}" for name, kind in CATALOG.items()]

    # Training -------------------------------------------------------------------------------------------------------

    def draw(self, k: int) -> tuple[Tensor, ...]:
        generator, size = self.setting.generator(k, Purpose.COLLOCATION), self.setting.drawn
        drawn = numbers(generator, size, len(self.equation.inputs), self.setting.dtype)
        if self.kept is not None:
            drawn = (*drawn, self.kept.draw(self.spent(k), size, generator))
        return tuple(map(self.setting.mine, drawn))

    def make(self, *drawn: Tensor) -> tuple[Tensor, ...]:
        domain = self.domain
        interior, initial, walls, *kept = drawn
        return domain.interior(interior), domain.initial(initial), domain.walls(walls), *kept

    def loss(self, model: nn.Module, *batch: Tensor) -> Tensor:
        interior, initial, walls, *index = batch
        if self.kept is not None:
            interior = self.kept.replaced(model, interior, *index)
        terms = self.terms(model, interior, initial, walls)
        return terms["residual"] + self.weights[0] * terms["initial"] + self.weights[1] * terms["boundary"]

    def terms(self, model: nn.Module, interior: Tensor, initial: Tensor, walls: Tensor) -> dict[str, Tensor]:
        """The means of squares that the loss consists of, 0-dim tensors, by name."""
        residual = self.equation.residual(self.field(model, interior)).square().sum(1).mean()
        if self.hard:
            return {"residual": residual, "initial": residual.new_zeros(()), "boundary": residual.new_zeros(())}
        return {
            "residual": residual,
            "initial": self._initial(model, initial).square().sum(1).mean(),
            "boundary": self._walls(model, walls).square().sum(1).mean(),
        }

    def field(self, model: nn.Module, points: Tensor) -> Field:
        """The network's u at points (n, d) of the domain, with its derivatives."""
        return Field(lambda x: self.u(model, x), points, forward=self.forward)

    def u(self, model: nn.Module, points: Tensor) -> Tensor:
        """The network's u (n, unknowns) at points (n, d) of the domain."""
        found: Tensor = model(self.inputs(points))
        if not self.hard:
            return found
        scaled = self.domain.scaled(points)
        if self.equation.boundary != "periodic":
            found = found * (1 - scaled[:, 1:].square()).prod(1, keepdim=True)
        tau = (scaled[:, :1] + 1) / 2
        return self.equation.initial(points) + tau**self.equation.order_in_time * found

    def inputs(self, points: Tensor) -> Tensor:
        """What the network is given for points (n, d) of the domain."""
        scaled = self.domain.scaled(points)
        if not self.hard or self.equation.boundary != "periodic":
            return scaled
        angles = math.pi * scaled[:, 1:]
        return torch.cat([scaled[:, :1], angles.sin(), angles.cos()], 1)

    def _initial(self, model: nn.Module, points: Tensor) -> Tensor:
        """What is wrong at the first moment, (n, conditions)."""
        if self.equation.order_in_time == 1:
            return self.u(model, points) - self.equation.initial(points)
        field = self.field(model, points)
        velocity = torch.stack([field.d(i, 0) for i in range(len(self.equation.outputs))], 1)
        return torch.cat([field.u - self.equation.initial(points), velocity], 1)  # all start at rest

    def _walls(self, model: nn.Module, walls: Tensor) -> Tensor:
        """What is wrong at the walls, (n, conditions)."""
        n = len(walls)
        points = walls.reshape(-1, walls.shape[-1])
        if self.equation.boundary == "periodic":
            sides = self._sides(model, points)
            low, high = sides.reshape(n, len(self.domain.axes), 2, sides.shape[1]).unbind(2)
            return (low - high).reshape(n, -1)
        wanted = 0.0 if self.equation.boundary == "zero" else self.equation.exact(points)
        return (self.u(model, points) - wanted).reshape(n, -1)

    def _sides(self, model: nn.Module, points: Tensor) -> Tensor:
        """What must be equal on opposite walls: u, and its slopes where there are second derivatives."""
        if self.equation.order_in_space == 1:
            return self.u(model, points)
        field = self.field(model, points)
        slopes = [field.d(i, axis) for i in range(len(self.equation.outputs)) for axis in self.domain.axes]
        return torch.cat([field.u, torch.stack(slopes, 1)], 1)

    def prepare(self, model: nn.Module) -> None:
        if self.kept is not None:
            self.kept.prepare(model)

    def advance(self, model: nn.Module, evaluations: int) -> None:
        if self.kept is not None:
            self.kept.advance(model, evaluations, lambda points: self.equation.residual(self.field(model, points)))

    # Evaluation -----------------------------------------------------------------------------------------------------

    def splits(self) -> dict[str, Chunks]:
        return {"test": Chunks(self._test, -(-len(self.grid) // CHUNK))}

    def _test(self, i: int) -> tuple[Tensor, ...]:
        own = slice(i * CHUNK, (i + 1) * CHUNK)
        return *self._fixed(0, i, len(self.grid[own]), self.grid[own]), self.exact[own]

    def statistics(self, most: int) -> Chunks:
        count = min(most, max(1, self.examples // self.setting.batch_size))
        return Chunks(self._training, count)

    def _training(self, i: int) -> tuple[Tensor, ...]:
        points = self._fixed(1, i, self.setting.batch_size, None)
        return *points, self.equation.exact(points[0])

    def _fixed(self, which: int, i: int, count: int, interior: Tensor | None) -> tuple[Tensor, ...]:
        """Points of an evaluation, the same for every seed."""
        generator = torch.Generator().manual_seed(derive_seed(0, Purpose.STATISTICS, which, i))
        drawn = numbers(generator, count, len(self.equation.inputs), self.setting.dtype)
        found = self.make(*(each.to(self.setting.device) for each in drawn))
        return found if interior is None else (interior, *found[1:])

    def sums(self, model: nn.Module, *chunk: Tensor) -> Tensor:
        """Squared errors and squares of the exact solution, the three terms of the loss, summed; and points."""
        interior, initial, walls, exact = chunk
        terms = self.terms(model, interior, initial, walls)
        error = (self.u(model, interior) - exact).double().square().sum()
        count = torch.full_like(error, len(interior))
        sums = [terms[name].double() * count for name in ("residual", "initial", "boundary")]
        return torch.stack([error, exact.double().square().sum(), *sums, count]).detach()

    def scores(self, sums: Tensor) -> dict[str, float]:
        error, square, residual, initial, boundary, count = sums.tolist()
        terms = {"residual": residual / count, "initial": initial / count, "boundary": boundary / count}
        loss = terms["residual"] + self.weights[0] * terms["initial"] + self.weights[1] * terms["boundary"]
        return {"loss": loss, "relative_l2": math.sqrt(error / square), **terms}

    def report(self, model: nn.Module, folder: Path) -> dict[str, Any]:
        from .figure import draw

        draw(self, model, folder / "solution.png")
        return {}
