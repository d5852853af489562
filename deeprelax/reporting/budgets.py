"""Compare what runs were allowed to cost and did cost, in training examples, and flag rows that differ in it."""

from __future__ import annotations

from collections import Counter

from .loading import Run
from .rows import Row

TAKEN = "gradient_evaluations"
TOLERANCE = 0.02  # of gradient evaluations, between runs of one budget


def examples(run: Run, key: str = "budget") -> int:
    """Training examples of a finished run: those of its budget, or those seen (key "gradient_evaluations")."""
    return int(run.result[key]) * int(run.result["batch_size"])


def same_budget(one: Run, other: Run) -> bool:
    """Whether two budgets, in examples, are less than a batch apart: rounding to full batches alone does that."""
    return abs(examples(one) - examples(other)) < max(_batch(one), _batch(other))


def flag(rows: list[Row], baselines: list[Row]) -> None:
    """Mark and annotate the rows that cannot be compared at equal cost.

    A row whose budget is not the usual one (of most of the baselines' runs, or of all runs where there is no baseline)
    gets comparable=False. One of the same budget whose gradient evaluations are more than 2 % off gets
    unusual_cost=True. Both get a note. Runs that stopped early are of their budget, and a note says what they took.
    """
    counted = [run for row in (baselines or rows) for run in row.counted]
    if not counted:
        return
    usual, _ = Counter(examples(run) for run in counted).most_common(1)[0]
    measure = min((run for run in counted if examples(run) == usual), key=stopped_early)
    for row in rows:
        off = [run for run in row.counted if not same_budget(run, measure)]
        if off:
            row.comparable = False
            row.notes.append(f"a budget of {_amount(off[0])}, not {_amount(measure)}: not comparable with the others")
            continue
        row.notes += _early(row.counted)
        usual_taken = examples(measure, TAKEN)
        worst = max(
            (examples(run, TAKEN) for run in row.counted if not stopped_early(run)),
            key=lambda n: abs(n - usual_taken),
            default=usual_taken,
        )
        if abs(worst - usual_taken) > TOLERANCE * usual_taken:
            row.unusual_cost = True
            row.notes.append(f"{_times(worst / usual_taken)} others took of the same budget")


def stopped_early(run: Run) -> bool:
    """Has `train.patience` ended it before its budget was spent?"""
    return bool(run.result.get("stopped_early"))


def _early(runs: list[Run]) -> list[str]:
    """A note if some of the runs stopped early: within their budget, but at less than its cost."""
    early = [run for run in runs if stopped_early(run)]
    if not early:
        return []
    shares = [run.result[TAKEN] / run.result["budget"] for run in early]
    how_many = f"{len(early)} of {len(runs)} runs" if len(runs) > 1 else "it"
    return [
        f"{how_many} stopped early (train.patience), after {100 * sum(shares) / len(shares):.3g} % of the budget's "
        "gradient evaluations"
    ]


def _times(ratio: float) -> str:
    if ratio >= 2:
        return f"{ratio:.3g} times the gradient evaluations that"
    return f"{100 * abs(ratio - 1):.2g} % {'fewer' if ratio < 1 else 'more'} gradient evaluations than"


def _batch(run: Run) -> int:
    return int(run.result["batch_size"])


def _amount(run: Run) -> str:
    return f"{run.result['budget']} gradient evaluations of {_batch(run)} {run.examples}"
