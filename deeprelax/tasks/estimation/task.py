"""Estimate a differential equation from noisy values of its solution."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...data.batches import Order
from ...errors import UserError
from ...optim.hyperparameters import given
from ...randomness import Purpose, derive_seed
from ..equations import Field
from ..equations.box import Box, spread
from ..hyperparameters import check_options
from ..metric import Metric
from ..task import Chunks, Setting, Task
from .bound import floors
from .dictionary import Dictionary, default_terms, eliminated, residual, smallest
from .known import CATALOG
from .measured import drawn, read

log = logging.getLogger(__name__)
CHUNK = 1000  # points
GRID = {1: 1000, 2: 40, 3: 12}  # points of the test along a coordinate, by the number of coordinates
FLOOR = 1e-4  # under the root, so that the loss is smooth where the network meets the data
KEPT, PRUNED = "kept_terms", "prunings"  # the network's buffers


class Estimation(Task):
    """f = sqrt(misfit + 1e-4) (1 + residual_weight residual), misfit the mean of (u - data)^2 / var(data).

    residual = |M c|^2 / sum_j c_j^2 |M_j|^2: u is the network, M (n, terms) the dictionary's terms at n points of the
    data's box, drawn again for each evaluation as in `task=pinn`, and c the unit vector with the smallest residual, a
    constant, as the derivative of a minimum allows. For the first `warmup` passes residual_weight counts as 0. At
    each pass of `prune_at` terms without which the root of the residual stays below `tolerance` are dropped, one after
    the other, in a buffer of the network.

    "coefficient_error" is sqrt(1 - <c, c_true>^2) with c from a grid of the box; "misfit" its root over the data,
    "residual" its root on the grid, "relative_l2" |u - exact| / |exact| there. Networks map inputs in [-1, 1]
    (batch, coordinates) to (batch, 1), from which u is made with the mean and deviation of the data.

    Source: Hasan, Pereira, Ravier, Farsiu and Tarokh, arXiv 1910.10262. Differs from the paper: c is projected out
    instead of descended, so a relaxed step that moves the weights takes it along; the points of M are new each time;
    terms are scaled to equal size and the misfit to the data's variance, so units do not matter; terms are dropped, in
    the place of lambda_1 |c|_1.

    Args:
        equation: what noisy data are drawn from, a name in `estimation.known.CATALOG`.
        path: a CSV file of the user's in its place, with columns as t,x,u.
        terms: the dictionary; None: that of the equation, or of derivatives to the second order.
        points: values of u, for a pass.
        noise: standard deviation of the data's noise over that of the solution.
        residual_weight: of |M c|^2 / n.
        warmup: passes.
        prune_at: passes.
        tolerance: up to what root of the residual an equation is taken to hold, so that a term is not needed.
        problem_seed: of points and noise; None: the run's seed.
    """

    metrics: Mapping[str, Metric] = {
        name: Metric() for name in ("coefficient_error", "misfit", "residual", "relative_l2")
    }
    additive: ClassVar[bool] = False
    derivatives: ClassVar[bool] = True
    compiles = captures = False  # an eigenvector is computed on the host's word
    buffers: ClassVar[tuple[str, ...]] = (KEPT, PRUNED)
    noun: ClassVar[str] = "value"
    abbreviation: ClassVar[str] = "v"
    result_keys: ClassVar[tuple[str, str]] = ("values", "values_per_second")

    def __init__(
        self,
        setting: Setting,
        equation: str = "hjb",
        path: str | None = None,
        terms: str | None = None,
        points: int = 1000,
        noise: float = 0.1,
        residual_weight: float = 10.0,
        warmup: float = 150.0,
        prune_at: tuple[float, ...] | list[float] = (800.0, 1100.0, 1400.0),
        tolerance: float = 0.15,
        problem_seed: int | None = None,
    ) -> None:
        options = given(locals())
        check_options(options, "estimation")
        super().__init__(setting)
        self.known = CATALOG[equation] if path is None else None
        own = setting.seed if problem_seed is None else problem_seed
        self.data = drawn(equation, points, noise, own) if path is None else read(path)
        inputs = self.data.inputs
        self.dictionary = Dictionary(terms or (self.known.terms if self.known else default_terms(inputs)), inputs)
        self.noise = noise
        self.weight, self.warmup, self.prune_at, self.tolerance = residual_weight, warmup, prune_at, tolerance
        self.scheduled = (*(("warmup",) if warmup else ()), *(("prune_at",) if len(prune_at) else ()))
        self.examples, self.shape = len(self.data.values), {"inputs": len(inputs), "outputs": 1}
        self.fingerprint = f"estimation {self.data.digest} {self.dictionary.names}"
        self._place()
        self.truth = None if self.known is None else self._direction(self.known.true)
        known = {"coefficient_error": self.truth is not None, "relative_l2": self.exact is not None}
        self.metrics = {name: metric for name, metric in self.metrics.items() if known.get(name, True)}

    @staticmethod
    def listing() -> list[str]:
        """A line for each equation, for `deeprelax tasks estimation`."""
        return [f"{name:<10} {known.description}" for name, known in CATALOG.items()]

    def _place(self) -> None:
        """Data and the test's grid on the device, and what scales them."""
        device, dtype = self.setting.device, self.setting.dtype
        self.points, self.values = (
            each.to(device=device, dtype=dtype) for each in (self.data.points, self.data.values[:, None])
        )
        ends = (self.known.low, self.known.high) if self.known else (self.points.amin(0), self.points.amax(0))
        self.box = Box(*(torch.as_tensor(end, device=device, dtype=dtype) for end in ends))
        self.mean, self.deviation = self.values.mean(), self.values.std()
        self.counts = (GRID.get(len(ends[0]), 6),) * len(ends[0])
        self.grid = self.box.grid(self.counts)
        self.exact = self.known.exact(self.grid) if self.known else None
        own = self.setting
        self.order = Order(self.examples, own.drawn, own.seed, device, part=own.part, chain=own.chain[0])

    def _direction(self, parameters: Tensor) -> Tensor:
        assert self.known is not None
        try:
            return self.dictionary.vector(self.known.coefficients(parameters), parameters)
        except KeyError as error:
            raise UserError(
                f"task.terms={', '.join(self.dictionary.names)} lacks {error.args[0]}, which the equation has: add it"
            ) from None

    # Training -------------------------------------------------------------------------------------------------------

    def draw(self, k: int) -> tuple[Tensor, ...]:
        setting = self.setting
        generator = setting.generator(k, Purpose.COLLOCATION)
        shift = torch.rand(len(self.data.inputs), generator=generator, dtype=torch.float64)
        weight = 0.0 if self.spent(k) < self._evaluations(self.warmup) else self.weight
        own = torch.tensor([*shift.tolist(), weight], dtype=setting.dtype)
        return self.order[k], own.to(setting.device)

    def make(self, *drawn: Tensor) -> tuple[Tensor, ...]:
        index, own = drawn
        return self.points[index], self.values[index], self._spread(len(index), own[:-1]), own[-1]

    def loss(self, model: nn.Module, *batch: Tensor) -> Tensor:
        points, values, places, weight = batch
        misfit = ((self.u(model, points) - values) / self.deviation).square().mean()
        terms = self.terms(model, places)
        c = smallest(terms.T @ terms / len(terms), model.get_buffer(KEPT))
        return (misfit + FLOOR).sqrt() * (1 + weight * residual(terms, c))

    def u(self, model: nn.Module, points: Tensor) -> Tensor:
        """The network's u (n, 1) at points (n, d)."""
        found: Tensor = model(self.box.scaled(points))
        return self.mean + self.deviation * found

    def terms(self, model: nn.Module, points: Tensor) -> Tensor:
        """The dictionary of the network's u, (n, terms)."""
        return self.dictionary(Field(lambda x: self.u(model, x), points))

    def _spread(self, count: int, shift: Tensor) -> Tensor:
        return self.box.interior(spread(count, shift).to(self.points))

    def _evaluations(self, passes: float) -> int:
        return round(passes * self.examples / self.setting.batch_size)

    def prepare(self, model: nn.Module) -> None:
        kept = torch.ones(len(self.dictionary.names), device=self.setting.device, dtype=self.setting.dtype)
        model.register_buffer(KEPT, kept)
        model.register_buffer(PRUNED, torch.zeros((), dtype=torch.long, device=self.setting.device))

    def advance(self, model: nn.Module, evaluations: int) -> None:
        due = sum(evaluations >= self._evaluations(each) for each in self.prune_at)
        if not due or due <= int(model.get_buffer(PRUNED)):
            return
        model.get_buffer(PRUNED).fill_(due)
        kept = model.get_buffer(KEPT)
        with torch.no_grad():
            terms = self.terms(model, self.grid)
        if torch.isfinite(terms).all():  # else the loop will say what is wrong
            kept.copy_(eliminated(terms.T @ terms / len(terms), kept, self.tolerance))

    # Evaluation -----------------------------------------------------------------------------------------------------

    def splits(self) -> dict[str, Chunks]:
        count = -(-max(len(self.grid), self.examples) // CHUNK)
        rows = [self.grid, self.grid if self.exact is None else self.exact, self.points, self.values]
        parts = list(zip(*(each.tensor_split(count) for each in rows), strict=True))
        return {"test": Chunks(lambda i: parts[i], count)}

    def statistics(self, most: int) -> Chunks:
        """Other points than the grid's, and the data."""
        count = min(most, max(1, self.examples // self.setting.batch_size))
        parts = list(zip(self.points.tensor_split(count), self.values.tensor_split(count), strict=True))
        return Chunks(lambda i: (*self._fixed(i), *parts[i]), count)

    def _fixed(self, i: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(derive_seed(0, Purpose.STATISTICS, i))
        shift = torch.rand(len(self.data.inputs), generator=generator, dtype=torch.float64).to(self.points)
        places = self._spread(self.setting.batch_size, shift)
        exact = self.known.exact(places) if self.known else None
        return places, places if exact is None else exact

    def sums(self, model: nn.Module, *chunk: Tensor) -> Tensor:
        """M'M, the mask, squared misfit, squared error and square of the solution, all summed; values, and 1."""
        places, exact, points, values = chunk
        zero = torch.zeros((), dtype=torch.float64, device=places.device)
        p, kept = len(self.dictionary.names), model.get_buffer(KEPT).double()
        gram, error, square = zero.expand(p, p), zero, zero
        if len(places):
            terms = self.terms(model, places).double()
            gram = terms.T @ terms
            if self.exact is not None:
                error = (self.u(model, places) - exact).double().square().sum()
                square = exact.double().square().sum()
        misfit = (self.u(model, points) - values).double().square().sum()
        counts = torch.tensor([len(points), 1], dtype=torch.float64, device=places.device)
        return torch.cat([gram.flatten(), kept, torch.stack([misfit, error, square]), counts]).detach()

    def scores(self, sums: Tensor) -> dict[str, float]:
        gram, c, rest = self._found(sums)
        misfit, error, square, values, _ = rest.tolist()
        ours = float(c @ gram @ c) / float(c.square() @ gram.diagonal())
        misfit = misfit / values / float(self.deviation) ** 2
        found = {
            "loss": math.sqrt(misfit + FLOOR) * (1 + self.weight * ours),
            "misfit": math.sqrt(misfit),
            "residual": math.sqrt(max(ours, 0.0)),
        }
        if self.truth is not None:
            found["coefficient_error"] = math.sqrt(max(0.0, 1 - float(c @ self.truth) ** 2))
        if self.exact is not None:
            found["relative_l2"] = math.sqrt(error / square)
        return found

    def _found(self, sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """G of the terms that are left (p, p), c (p,), and the other sums."""
        p = len(self.dictionary.names)
        gram, kept, rest = sums[: p * p].reshape(p, p), sums[p * p : p * p + p] / sums[-1], sums[p * p + p :]
        return gram, smallest(gram, kept), rest

    def report(self, model: nn.Module, folder: Path) -> dict[str, Any]:
        from .figure import draw

        chunks = self.splits()["test"]
        with torch.no_grad():
            sums = torch.stack([self.sums(model, *chunks.take(i)) for i in range(chunks.count)])
        _, c, _ = self._found(sums.sum(0).cpu())
        floor = {} if self.known is None else floors(self.known, self.data, self._direction)
        if int(model.get_buffer(PRUNED)) < len(self.prune_at):
            log.info("terms were not dropped at all of task.prune_at=%s: the run ended before", list(self.prune_at))
        draw(self, model, c, floor, folder / "estimate.png")
        return self.dictionary.told(c) | floor
