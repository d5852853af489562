"""Chains of runs, as Adam then L-BFGS: what the parts before leave to the one that trains now.

A run that continues another with another optimizer, other keys of it or another schedule begins a new part. Batches and
counts continue, so that part's evaluation k takes batch k of the chain; its schedule runs over the part alone. A run
that continues another with the same ones makes its last part longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..configuration.schema import TrainConf
from ..errors import UserError
from ..optim.hyperparameters import CHOSEN_ONCE
from ..training.cadence import Budget
from ..training.schedules import Schedule, make_schedule, moved
from ..training.stepper import Stepper
from .continuation import METHOD, completed

RATE = "optimizer.options.lr"  # of an optimizer of the user's, whose other options may shape its state


@dataclass(frozen=True, slots=True)
class Chain:
    """The parts that have ended, each as {"optimizer", "gradient_evaluations", "outer_steps"}.

    begins: the checkpoint is that of the part before. keeps: its optimizer's state fits the one of this part.
    """

    ended: list[dict[str, Any]] = field(default_factory=list)
    begins: bool = False
    keeps: bool = False

    @property
    def before(self) -> tuple[int, int]:
        """Gradient evaluations and outer steps of the parts that have ended."""
        return _sum(self.ended, "gradient_evaluations"), _sum(self.ended, "outer_steps")

    def with_part(self, optimizer: str, evaluations: int, outer_steps: int) -> list[dict[str, Any]]:
        """The parts with one more, given what the chain has done at its end."""
        before = self.before
        counts = {"gradient_evaluations": evaluations - before[0], "outer_steps": outer_steps - before[1]}
        return [*self.ended, {"optimizer": optimizer, **counts}]

    def check(self, budget: Budget) -> None:
        """Raise UserError if the budget, that of all parts, leaves no gradient evaluation to this one."""
        if self.ended and budget.evaluations <= budget.before:
            raise UserError(
                f"epochs={budget.epochs:g} is {budget.evaluations} gradient evaluations, and the run that this one "
                f"continues has done {budget.before}: give a larger total"
            )


ALONE = Chain()


def _sum(parts: list[dict[str, Any]], key: str) -> int:
    return sum(part[key] for part in parts)


def chain_of(configuration: Mapping[str, Any], state: Mapping[str, Any] | None) -> Chain:
    """The chain of a run with this (decisive) configuration, by the checkpoint that it resumes from, if any."""
    if state is None:
        return ALONE
    chain, there = Chain(state.get("chain", [])), completed(state["configuration"], configuration)
    if there["continue_from"] == configuration["continue_from"] or _method(there) == _method(configuration):
        return chain
    ended = chain.with_part(there["optimizer.name"], state["evaluations"], state["outer_steps"])
    return Chain(ended, begins=True, keeps=_structure(there) == _structure(configuration))


def _method(configuration: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in configuration.items() if key.startswith(METHOD)}


def _structure(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same for an optimizer's state to fit."""
    groups = [group["match"] for group in configuration.get("optimizer.groups", [])]
    shaping = {
        "optimizer.name",
        "optimizer.history_size",
        "optimizer.decay_norms_and_biases",
        *(f"optimizer.{key}" for key in CHOSEN_ONCE),
    }
    return {"groups": groups} | {
        key: value
        for key, value in configuration.items()
        if key in shaping or (key.startswith("optimizer.options") and key != RATE)
    }


def schedule(conf: TrainConf, epochs: float, budget: Budget) -> Schedule:
    """passes done -> factor of the initial rates, over the budget's part, from its start to the end of `epochs`."""
    given, start = conf.schedule, budget.start
    found = make_schedule(
        given.name, given.milestones, given.factor, epochs - start,
        warmup=given.warmup, decay=given.decay, step=budget.passes(budget.per_step),
    )  # fmt: skip
    return lambda passes: found(passes - start)


def settings(optimizer: Stepper) -> list[dict[str, Any]]:
    """The hyper-parameters of each parameter group."""
    keys = [key for key in optimizer.defaults if key != "outer_steps"]
    return [{key: group[key] for key in keys if key in group} for group in optimizer.param_groups]


def restore_settings(optimizer: Stepper, before: list[dict[str, Any]]) -> None:
    """Put back what `settings` returned, after the state of a part with other ones was loaded."""
    for group, values in zip(optimizer.param_groups, before, strict=True):
        for rate in moved("both"):
            group.pop(f"initial_{rate}", None)  # the schedule's, of that part
        group.update(values)
