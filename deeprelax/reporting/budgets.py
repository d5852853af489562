"""What runs cost and were allowed to cost, in training images: equal cost is what makes them comparable."""

from __future__ import annotations

from collections import Counter

from .rows import Row
from .runs import Run

TAKEN = "gradient_evaluations"
TOLERANCE = 0.02  # of gradient evaluations, between runs of one budget


def images(run: Run, key: str = "budget") -> int:
    """Training images that a finished run might see, or has seen (key "gradient_evaluations")."""
    return int(run.result[key]) * int(run.result["batch_size"])


def same_budget(one: Run, other: Run) -> bool:
    """In images, less than a batch apart: whole batches alone may make that difference."""
    return abs(images(one) - images(other)) < max(_batch(one), _batch(other))


def flag(rows: list[Row], baselines: list[Row]) -> None:
    """Rows of another budget than the baseline's, or than most runs', and those that used theirs differently."""
    counted = [run for row in (baselines or rows) for run in row.counted]
    if not counted:
        return
    usual, _ = Counter(images(run) for run in counted).most_common(1)[0]
    measure = next(run for run in counted if images(run) == usual)
    for row in rows:
        off = [run for run in row.counted if not same_budget(run, measure)]
        if off:
            row.comparable = False
            row.notes.append(f"a budget of {_amount(off[0])}, not {_amount(measure)}: not comparable with the others")
            continue
        usual_taken = images(measure, TAKEN)
        worst = max(
            (images(run, TAKEN) for run in row.counted), key=lambda n: abs(n - usual_taken), default=usual_taken
        )
        if abs(worst - usual_taken) > TOLERANCE * usual_taken:
            row.took_otherwise = True
            row.notes.append(f"{_times(worst / usual_taken)} others took of the same budget")


def _times(share: float) -> str:
    if share >= 2:
        return f"{share:.3g} times the gradient evaluations that"
    return f"{100 * abs(share - 1):.2g} % {'fewer' if share < 1 else 'more'} gradient evaluations than"


def _batch(run: Run) -> int:
    return int(run.result["batch_size"])


def _amount(run: Run) -> str:
    return f"{run.result['budget']} gradient evaluations of {_batch(run)} images"
