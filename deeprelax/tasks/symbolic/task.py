"""Differential equations solved by a formula: an expression tree that descends the squared residual and hardens."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...data.augment import upload
from ...errors import UserError
from ...models import ExpressionTree
from ...optim.hyperparameters import given
from ...randomness import Purpose, derive_seed
from ..equations import Field
from ..equations.box import sequence
from ..equations.formulas import UNKNOWN, Formula
from ..hyperparameters import check_options
from ..metric import Metric
from ..task import Chunks, Setting, Task
from .conditions import Condition, constant
from .problems import PROBLEMS, Problem

log = logging.getLogger(__name__)
TESTED = 1000  # points of each kind
NEAR = 1e-2  # a formula whose mean squares add up to more cannot be exact within the tolerance of its rounding


class Symbolic(Task):
    """f = mean r^2 + condition_weight sum_j mean e_j^2 + eta H, by Monte Carlo, of an expression tree u.

    r is the residual, e_j the error of condition j, each mean over new points for each evaluation, batch_size of each
    kind. H is the mean entropy of the tree's choices. Until `harden_after` the sharpness of their softmax grows from 1
    to `sharpness`, geometrically, and eta from 0 to `entropy`, linearly. Then the choices are frozen, and the gradients
    that are left fit the constants.

    Scores are of the likeliest choices, the formula that would be read out. "exact" is 1 if the choices are frozen and
    sympy reduces the residual and all errors of the formula with rounded constants (`readout`) to 0, else 0; "residual"
    and "conditions" (their sum) are means of squares on fixed points; "relative_l2" is |u - exact| / |exact|, where an
    exact solution is known.

    Source: arXiv 2011.06673, its idea; the proof by substitution is our own.

    Args:
        equation: a name in `problems.PROBLEMS`; "own": the three that follow.
        residual: a `Formula` that is to be 0.
        conditions: a list, each as `Condition` reads it.
        domain: coordinate, one letter, to its two ends, in the order of the conditions' arguments.
        points: of each kind in a pass, what epochs counts in.
        condition_weight: of the conditions' terms.
        harden_after: passes.
        sharpness: of the choices at that time.
        entropy: the weight eta then.
    """

    buffers: ClassVar[tuple[str, ...]] = ("operator", "join")
    metrics: Mapping[str, Metric] = {
        "exact": Metric(decimals=2, smaller_is_better=False),  # of several runs the share of them
        **{name: Metric() for name in ("residual", "conditions", "relative_l2")},
    }
    derivatives: ClassVar[bool] = True
    noun: ClassVar[str] = "point"
    abbreviation: ClassVar[str] = "pt"
    result_keys: ClassVar[tuple[str, str]] = ("points", "points_per_second")
    compiles = False

    def __init__(
        self,
        setting: Setting,
        equation: str = "heat",
        residual: str | None = None,
        conditions: Sequence[str] = (),
        domain: Mapping[str, Any] = {},
        points: int = 6400,
        condition_weight: float = 3.0,
        harden_after: float = 15.0,
        sharpness: float = 5.0,
        entropy: float = 0.01,
    ) -> None:
        options = given(locals())
        check_options(options, "symbolic")
        super().__init__(setting)
        problem = _problem(equation, residual, list(conditions), dict(domain))
        self.examples, self.condition_weight = points, condition_weight
        self.inputs = tuple(problem.domain)
        self.ends = [_ends(name, ends) for name, ends in problem.domain.items()]
        self.residual = Formula(problem.residual, self.inputs, "task.residual")
        if not self.residual.derivatives:
            raise UserError(f"task.residual: {problem.residual!r} has no {UNKNOWN} in it: write it as u_t - u_xx")
        read = [Condition(text, self.inputs, "task.conditions") for text in problem.conditions]
        self.conditions = sorted(read, key=lambda each: each.left.text)  # those of u together, and so on
        self.solution = Formula(problem.solution, self.inputs, "solution") if problem.solution is not None else None
        if self.solution is None:
            self.metrics = {name: each for name, each in self.metrics.items() if name != "relative_l2"}
        self.shape = {"inputs": len(self.inputs), "outputs": 1}
        self.fingerprint = f"symbolic {sorted((options | {'problem': problem}).items(), key=str)}"
        self.scheduled = ("harden_after",)
        self.harden_after = harden_after
        self.harden_at = harden_after * points / setting.batch_size  # evaluations
        self.last = (sharpness, entropy)
        self.hardened = False
        kinds = 1 + len(self.conditions)
        self.low, self.high = (self._tensor([ends[side] for ends in self.ends]) for side in (0, 1))
        self.fixed = self._tensor([[math.nan] * len(self.inputs)] * kinds)  # the constant coordinates of each kind
        for j, each in enumerate(self.conditions):
            for i, value in each.fixed.items():
                self.fixed[j + 1, i] = float(value)
        self.sequence = sequence(setting.drawn, len(self.inputs))

    @staticmethod
    def listing() -> list[str]:
        """A line for each equation, for `deeprelax tasks symbolic`."""
        return [
            f"{name:<10} {each.residual} = 0 with {'; '.join(each.conditions)}: {each.solution}"
            for name, each in PROBLEMS.items()
        ]

    def check_network(self, name: str, network: Callable[..., Any]) -> None:
        if not (isinstance(network, type) and issubclass(network, ExpressionTree)):
            raise UserError(f"task=symbolic reads a formula out of its network: take model=expression_tree, not {name}")

    # Training -------------------------------------------------------------------------------------------------------

    def draw(self, k: int) -> tuple[Tensor, ...]:
        generator = self.setting.generator(k, Purpose.COLLOCATION)
        done = min(1.0, self.spent(k) / self.harden_at) if self.harden_at else 1.0
        schedule = torch.tensor([self.last[0] ** done, self.last[1] * done], dtype=self.setting.dtype)
        return self.setting.mine(self._numbers(generator, self.sequence)), upload(schedule, self.setting.device)

    def _numbers(self, generator: torch.Generator, sequence: Tensor) -> Tensor:
        """In [0, 1), (points, kinds, coordinates), on the CPU: evenly spread, each kind shifted at random."""
        shift = torch.rand(self.fixed.shape, generator=generator, dtype=torch.float64)
        return ((sequence[:, None] + shift) % 1).to(self.setting.dtype)

    def make(self, *drawn: Tensor) -> tuple[Tensor, ...]:
        numbers, *schedule = drawn
        points = torch.where(self.fixed.isnan(), self.low + (self.high - self.low) * numbers, self.fixed)
        targets = [each.right.at(points[:, j]) for j, each in enumerate(self.conditions, 1)]
        return points, torch.stack(targets, 1), *schedule

    def loss(self, model: nn.Module, *batch: Tensor) -> Tensor:
        points, targets, schedule = batch
        assert isinstance(model, ExpressionTree)
        sharpness, eta = schedule.unbind()
        weights = model.weights(sharpness)
        residual, conditions = self.terms(Field(lambda x: model.value(x, *weights), points.flatten(0, 1)), targets)
        return residual + self.condition_weight * conditions + eta * model.entropy(*weights)

    def terms(self, field: Field, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The mean squares of the residual and of the conditions, summed, for the points of a batch, kind by kind."""

        def values(formula: Formula, name: str) -> Tensor:
            return field.d(0, *formula.dims(name)).view(len(targets), -1)  # (points, kinds)

        here = {name: values(self.residual, name)[:, 0] for name in self.residual.derivatives}
        residual = self.residual.at(field.points[:: len(self.fixed)], here).square().mean()
        errors, first = [], 0
        for name, group in itertools.groupby(self.conditions, key=lambda each: each.left.text):
            last = first + len(own := list(group))
            errors.append(values(own[0].left, name)[:, first + 1 : last + 1] - targets[:, first:last])
            first = last
        return residual, torch.cat(errors, 1).square().mean(0).sum()

    def advance(self, model: nn.Module, evaluations: int) -> None:
        if not self.hardened and evaluations >= self.harden_at:
            assert isinstance(model, ExpressionTree)
            model.harden()  # after a resume once more, which changes nothing
            self.hardened = True

    # Evaluation -----------------------------------------------------------------------------------------------------

    def splits(self) -> dict[str, Chunks]:
        return {"test": Chunks(lambda i: self._fixed(0, i, TESTED), 1)}

    def statistics(self, most: int) -> Chunks:
        count = min(most, max(1, self.examples // self.setting.batch_size))
        return Chunks(lambda i: self._fixed(1, i, self.setting.batch_size), count)

    def _fixed(self, which: int, i: int, count: int) -> tuple[Tensor, ...]:
        """Points of an evaluation, the same for every seed, and whether they are the first chunk's."""
        generator = torch.Generator().manual_seed(derive_seed(0, Purpose.STATISTICS, which, i))
        numbers = self._numbers(generator, sequence(count, len(self.inputs)))
        return *self.make(numbers.to(self.setting.device)), self._tensor(i == 0)

    def sums(self, model: nn.Module, *chunk: Tensor) -> Tensor:
        """Mean squares by points, squared errors, squares of the exact solution, points, exact in the first chunk."""
        points, targets, first = chunk
        assert isinstance(model, ExpressionTree)
        field = Field(lambda x: model(x, hard=True), points.flatten(0, 1))
        residual, conditions = (term.double() for term in self.terms(field, targets))
        count = torch.full_like(residual, len(points))
        error, square = torch.zeros_like(count), torch.ones_like(count)
        if self.solution is not None:
            exact = self.solution.at(points[:, 0])
            error = (field.u.view(len(points), -1)[:, 0] - exact).double().square().sum()
            square = exact.double().square().sum()
        proven = bool(first) and float(residual + conditions) < NEAR and self._exact(model)
        return torch.stack([residual * count, conditions * count, error, square, count, count.new_tensor(proven)])

    def _exact(self, model: ExpressionTree) -> bool:
        from .readout import rounded, solves

        return model.hardened and solves(rounded(model, self.inputs), self.residual, self.conditions, self.ends)

    def scores(self, sums: Tensor) -> dict[str, float]:
        residual, conditions, error, square, count, exact = sums.tolist()
        found = {"exact": exact, "residual": residual / count, "conditions": conditions / count}
        found["loss"] = found["residual"] + self.condition_weight * found["conditions"]
        return found | ({"relative_l2": math.sqrt(error / square)} if self.solution is not None else {})

    def report(self, model: nn.Module, folder: Path) -> dict[str, Any]:
        from .readout import printed

        assert isinstance(model, ExpressionTree)
        if not model.hardened:
            log.info("the operators were not frozen, for the run ended before task.harden_after=%g", self.harden_after)
        return printed(model, self.inputs, exact=self._exact(model))

    def _tensor(self, values: Any) -> Tensor:
        return torch.tensor(values, device=self.setting.device, dtype=self.setting.dtype)


def _problem(equation: str, residual: str | None, conditions: list[str], domain: dict[str, Any]) -> Problem:
    """The shipped equation, or the user's own. Raises UserError for half of one."""
    own = {"residual": residual, "conditions": conditions, "domain": domain}
    if equation != "own":
        for key in (key for key, value in own.items() if value):
            raise UserError(f"task.{key} is of an equation of your own, not of {equation}: set task.equation=own too")
        return PROBLEMS[equation]
    for key in (key for key, value in own.items() if not value):
        raise UserError(f"task.equation=own needs task.{key} too: give task.residual, task.conditions and task.domain")
    wrong = [name for name in domain if not (len(str(name)) == 1 and str(name).islower() and str(name).isascii())]
    for name in wrong or ([UNKNOWN] if UNKNOWN in domain else []):
        raise UserError(f"task.domain: {name} is no coordinate: give each a small letter other than {UNKNOWN}")
    return Problem(str(residual), tuple(conditions), domain)


def _ends(name: str, ends: Any) -> tuple[float, float]:
    """The ends of a coordinate's interval. Raises UserError."""
    message = f"task.domain: the ends of {name} must be two numbers, as [0, pi]"
    if not isinstance(ends, list | tuple) or len(ends) != 2:
        raise UserError(f"{message}, not {ends}")
    low, high = (float(constant(end, message)) for end in ends)
    if not low < high:
        raise UserError(f"task.domain: {name} must end above its start, not [{low:g}, {high:g}]")
    return low, high
