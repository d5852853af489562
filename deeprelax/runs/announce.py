"""Say before the start what a run will do, and what of it is probably not meant."""

from __future__ import annotations

import logging
import math
from fractions import Fraction

from ..configuration.schema import TrainConf
from ..data.sources.label_noise import flipped
from ..tasks.task import Task
from ..training.cadence import Budget
from ..training.schedules import TAIL
from ..training.stepper import Stepper

log = logging.getLogger(__name__)
FEW = 20  # outer steps, under which hardly any optimizer gets anywhere


def announce(conf: TrainConf, task: Task, budget: Budget, optimizer: Stepper) -> None:
    """Log the budget in passes, gradient evaluations and outer steps, and warn of what acts differently than it reads.

    That is few outer steps, evaluations that no whole outer step takes, a schedule, or part of one, that never acts,
    and L-BFGS on a part of the examples.
    """
    plural = "s" * (budget.outer_steps != 1)
    steps = f"{budget.outer_steps} outer step{plural}"
    if budget.least is not None:
        steps = f"outer steps of {budget.per_step} at most"
    log.info(
        "%s on %s with %s: %g passes over %d %ss = %d gradient evaluations of %d %ss, %s",
        conf.model.name, conf.dataset.name if task.takes_data else conf.task.name, conf.optimizer.name, budget.epochs,
        budget.examples, task.noun, budget.evaluations, budget.batch_size, task.noun, steps,
    )  # fmt: skip
    if wrong := flipped(budget.examples, conf.dataset.label_noise):
        log.info("%d of %d training labels are wrong, by dataset.label_noise", wrong, budget.examples)
    if budget.least is not None and budget.batch_size < budget.examples:
        log.warning(
            "f is the loss of batch 0 alone, %d of %d %ss: batch_size=%d takes all",
            budget.batch_size, budget.examples, task.noun, budget.examples,
        )  # fmt: skip
    key = getattr(optimizer, "evaluations_key", None)
    shorter = f"optimizer.{key} or " if budget.per_step > 1 and hasattr(conf.optimizer, str(key)) else ""
    for problem in (_schedule_problem(conf, budget), steps_problem(budget, shorter)):
        if problem:
            log.warning(problem)


def _schedule_problem(conf: TrainConf, budget: Budget) -> str:
    """Of a schedule some of which never acts, its passes being behind the end or within one step; "" if all does."""
    schedule, start, step = conf.schedule, budget.start, budget.passes(budget.per_step)
    rate = "rate" if schedule.of == "both" else schedule.of
    of_part = f" in a part that begins at pass {start:.4g}" * (start > 0)
    end, passes = f"{of_part}, beyond epochs={conf.epochs:g}", conf.epochs - start
    if schedule.name == "step" and schedule.milestones and (first := min(schedule.milestones)) >= passes:
        return f"schedule.milestones begin at {first:g}{end}: the {rate} never changes"
    tail = (schedule.decay or TAIL * passes) if schedule.name == "trapezoid" else 0.0
    if schedule.warmup and schedule.warmup + tail > passes:
        both = f"and a decay of {tail:g} passes end" if tail else "ends"
        end = end.removeprefix(",")
        return f"schedule.warmup={schedule.warmup:g} {both}{end}: the {rate} never reaches its value"
    if tail > passes:
        return f"schedule.decay={tail:g} is more than there are{of_part}, epochs={conf.epochs:g}: lower it"
    if 0 < schedule.warmup <= step:
        return f"schedule.warmup={schedule.warmup:g} does nothing: the first outer step alone takes {step:.3g} passes"
    return ""


def steps_problem(budget: Budget, shorter: str = "") -> str:
    """Few outer steps, or a budget that is not one of whole outer steps; "" if there is no such problem.

    shorter: keys that make outer steps shorter, with " or " behind each.
    """
    if budget.least is not None:  # they differ in length, and the last one is cut
        return ""
    steps, left = budget.outer_steps - budget.steps_before, budget.evaluations - budget.taken
    each = f" of {budget.per_step} gradient evaluations" if budget.per_step > 1 else ""
    if steps < FEW:
        over = f" and leaves {left} evaluation{'s' * (left != 1)} over" * (left > 0)
        short = f", which is {-left} more than there are" * (left < 0)
        near = "" if left == 0 else f", epochs={_epochs(budget, steps + (left > 0))} makes {steps + (left > 0)}"
        return (
            f"epochs={budget.epochs:g} is only {steps} outer step{'s' * (steps != 1)}{each}{short}{over}: "
            f"epochs={_epochs(budget, FEW)} makes {FEW} whole ones{near}; or lower {shorter}batch_size"
        )
    if abs(budget.taken / budget.evaluations - 1) > 0.02:
        return (
            f"whole outer steps of {budget.per_step} come to {budget.taken} evaluations, not {budget.evaluations}: "
            f"epochs={_epochs(budget, steps)} and epochs={_epochs(budget, steps + 1)} end on a whole one"
        )
    return ""


def _epochs(budget: Budget, steps: int) -> str:
    """The shortest decimal number of passes whose budget is that of so many whole outer steps of this part."""
    wanted = budget.before + steps * budget.per_step
    low, high = (Fraction(n * budget.batch_size, budget.examples) for n in (wanted, wanted + 1))
    digits = 0
    while math.ceil(low * 10**digits) >= high * 10**digits:
        digits += 1
    return f"{math.ceil(low * 10**digits) / 10**digits:.{digits}f}"
