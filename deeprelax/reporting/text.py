"""Format a comparison as text: for the terminal, and as Markdown."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from ..tables import aligned
from ..tasks.metric import Metric
from .rows import Comparison, Profile, Row, Table
from .summary import Difference

WIDTH = 100
SENT = "sent"  # the column of traffic
# columns of flatness.json
FLAT = {"lambda_max": "Hessian top", "trace": "Hessian trace", "sharpness": "sharpness filter"}
FACTORS = (1.0, 1.5, 2.0, 4.0, math.inf)  # of the cheapest cost, that a performance profile is shown at


@dataclass(frozen=True)
class Block:
    """A table to be shown: its heading, its rows of cells, the header first, and the notes below it."""

    heading: str
    rows: list[list[str]]
    warnings: list[str]
    legend: list[str]

    @property
    def notes(self) -> list[str]:
        return [*self.warnings, *self.legend]


def blocks(comparison: Comparison, *, every: bool = False) -> list[Block]:
    """The tables, each followed by that of its target if it has one, and the performance profile. every: `warnings`."""
    found = []
    for table in comparison.tables:
        head = header(table)
        rows = [head, *(_with_columns(head, cells(row, table)) for row in table.rows)]
        found.append(Block(heading(table), rows, warnings(table, every=every), legend(table)))
        if table.target is not None:
            found.append(_of_target(table, table.target))
    return [*found, *([_of_profile(comparison.profile)] if comparison.profile is not None else [])]


def terminal(comparison: Comparison) -> str:
    """Tables, notes and the runs in no table, at most 100 characters wide but for paths."""
    lines = []
    for block in blocks(comparison):
        lines += [*_wrapped(block.heading, ""), "", *_aligned(block.rows)]
        lines += [line for note in block.warnings for line in _wrapped(note, "  ! ")]
        lines += [*(line for note in block.legend for line in _wrapped(note, "  ")), ""]
    for note in comparison.notes:
        lines += _wrapped(note, "! ")
    if comparison.uncounted:
        lines.append("Not in the table:")
    for run, state, reason in comparison.uncounted:
        lines.append(f"  {state}  {run.directory}")
        lines += _wrapped(_progress(run.passes, state, reason), "    ") if reason or state != "again" else []
    return "\n".join(lines).rstrip()


def markdown(comparison: Comparison) -> str:
    """The content of table.md: as `terminal`, but warnings name every group."""
    lines = []
    for block in blocks(comparison, every=True):
        head, *rows = block.rows
        lines += [f"## {block.heading}", ""]
        lines += [_bar(head), _bar(["---"] + ["---:"] * (len(head) - 1)), *map(_bar, rows), ""]
        lines += [*(f"- {note}" for note in block.notes), ""]
    lines += [*(f"- {note}" for note in comparison.notes), ""] if comparison.notes else []
    if comparison.uncounted:
        lines += ["Not in the table:", ""]
        lines += [
            f"- {state}: `{run.directory}` ({_progress(run.passes, state, reason)})"
            for run, state, reason in comparison.uncounted
        ]
    return "\n".join(lines).rstrip() + "\n"


def _of_target(table: Table, target: float) -> Block:
    """What reaching it cost, the cheapest first."""
    smaller, unit = table.shown_as.smaller_is_better, table.shown_as.unit
    wanted = f"{table.metric.replace('_', ' ')} {'≤' if smaller else '≥'} {target:g}{f' {unit}' if unit else ''}"
    found = [(row.group.label, row.cost) for row in table.rows if row.cost is not None]
    shown = [
        [label, f"{cost.reached} of {cost.runs}", f"{cost.evaluations:.6g}", f"{cost.seconds:.4g}"]
        for label, cost in sorted(found, key=lambda pair: pair[1].evaluations)
    ]
    legend = [
        "Medians over runs of the cost at the first evaluation that reached it; one that did not, or failed, is inf."
    ]
    head = [header(table)[0], "reached", "evaluations", "seconds"]
    return Block(f"{table.title}: to reach {wanted}", [head, *shown], [], legend)


def _of_profile(found: Profile) -> Block:
    rows = [
        [label, *(f"{100 * found.share(label, factor):.0f}" for factor in FACTORS)]
        for label in sorted(found.ratios, key=lambda label: [-found.share(label, factor) for factor in FACTORS])
    ]
    title = f"Of {len(found.problems)} problems in percent: at the target for so many times the cheapest setting's cost"
    head = ["setting", *(f"{factor:g} times" for factor in FACTORS[:-1]), "at all"]
    legend = "Performance profile (arXiv cs/0102001): medians of training examples, settings that all problems have."
    return Block(title, [head, *rows], [], [legend])


def heading(table: Table) -> str:
    """The line above a table: network, problem, passes if all rows have the same, and what the numbers are."""
    budgets = {run.result["epochs"] for row in table.rows for run in row.counted}
    passes = f", {counted(budgets.pop())}" if len(budgets) == 1 else ""
    pooled = any(len({run.seed for run in row.counted}) < len(row.counted) for row in table.rows)
    better = "" if table.shown_as.smaller_is_better else ", larger is better"
    over = "runs" if pooled else "seeds"
    return f"{table.title}{passes}: {named(table)}{better}, mean ± standard deviation over n {over}"


def named(table: Table) -> str:
    """ "test_error" as "test error (%)"."""
    unit = table.shown_as.unit
    return table.metric.replace("_", " ") + (f" ({unit})" if unit else "")


def header(table: Table) -> list[str]:
    """The names of the columns; that of the differences is there only if the table has some."""
    kind = "optimizer" if all(list(row.group.shown) == ["optimizer"] for row in table.rows) else "setting"
    minus = [f"minus {table.baseline or 'baseline'} [95 %]"] if _has_differences(table) else []
    sent = [SENT] if any(row.traffic is not None for row in table.rows) else []
    flat = [name for name, key in FLAT.items() if any(key in row.flatness for row in table.rows)]
    seeds = [f"seed {seed}" for seed in table.seeds]
    return [kind, *seeds, table.metric.replace("_", " "), "n", *minus, "evaluations", "seconds", *sent, *flat]


def cells(row: Row, table: Table) -> list[str]:
    """The row's cells, those of difference, traffic and flatness included, for which `header` may have no column."""
    summary, metric = row.summary, table.shown_as
    value = "-" if summary.mean is None else metric.number(summary.mean)
    value += "" if summary.std is None else f" ± {metric.number(summary.std)}"
    mark = (" (*)" * (not row.comparable)) + (" (!)" * row.unusual_cost)
    seeds = [" / ".join(map(metric.number, row.of_seed(seed, table.metric))) or "-" for seed in table.seeds]
    shown = [row.group.label + mark, *seeds, value, str(summary.n), difference(row, metric), _count(row.evaluations)]
    flat = [f"{row.flatness[key]:.4g}" if key in row.flatness else "-" for key in FLAT.values()]
    return [*shown, "-" if row.seconds is None else f"{row.seconds:.4g}", _bytes(row.traffic), *flat]


def difference(row: Row, metric: Metric) -> str:
    """The cell of the difference: "baseline", the mean and its interval, the reason why there is none, or "-"."""
    if row.is_baseline:
        return "baseline"
    if row.difference is None or row.difference.mean is None:
        return row.difference.why_not if row.difference else "-"
    text = _signed(row.difference.mean, metric)
    return f"{text} {_interval(row.difference, metric)}"


def _interval(found: Difference, metric: Metric) -> str:
    if found.low is None or found.high is None:
        return f"({found.why_not})"
    return f"[{_signed(found.low, metric)}, {_signed(found.high, metric)}]"


def _signed(value: float, metric: Metric) -> str:
    return ("+" if value >= 0 else "-") + metric.number(abs(value))


def _count(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.0f}"


def _bytes(value: float | None) -> str:
    """As 12.3 MB: powers of 1000."""
    if value is None:
        return "-"
    power = min(4, int(math.log10(max(value, 1))) // 3)
    return f"{value / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def _has_differences(table: Table) -> bool:
    return any(row.is_baseline for row in table.rows) and not all(row.is_baseline for row in table.rows if row.counted)


def warnings(table: Table, *, every: bool = False) -> list[str]:
    """The notes on the rows, each with the groups that it concerns, then the missing seeds with their runs' states.

    A note shared by more than three groups names the first of them and their number; `every=True` names all.
    """
    about: dict[str, list[str]] = {}
    for row in table.rows:
        for note in row.notes:
            about.setdefault(note, []).append(row.group.label)
    notes = [f"{'; '.join(labels) if every else _listed(labels)}: {note}" for note, labels in about.items()]
    for row in table.rows:
        states = {run.seed: run.state for run in row.group.runs}
        missing = [f"{seed} ({states.get(seed, 'not there')})" for seed in row.missing_seeds]
        if missing:
            notes.append(f"{row.group.label}: no result for seed {', '.join(missing)}")
    return notes


def legend(table: Table) -> list[str]:
    """Explanations of the marks and intervals that the table has, and a warning if failed runs are in no mean."""
    notes = []
    if any(run.state == "failed" for row in table.rows for run in row.group.runs):
        notes.append("A run that failed is in no mean: a setting that often fails looks better here than it is.")
    if any(not row.comparable for row in table.rows):
        notes.append("(*) another budget: ranked below the others")
    if any(row.unusual_cost for row in table.rows):
        notes.append("(!) over 2 % more or fewer gradient evaluations than others of the same budget: see above")
    if any(key in row.flatness for row in table.rows for key in FLAT.values()):
        notes.append(
            "lambda_max, trace, sharpness (filter-normalised): of flatness.json, means over runs measured alike"
        )
    if any(row.traffic is not None for row in table.rows):
        notes.append("sent: what each rank handed to all-reduces for training; - on one rank")
    if any(row.difference and row.difference.low is not None for row in table.rows):
        notes.append("Intervals: of the mean difference, paired by seed, Student's t, 95 %, each comparison by itself.")
    return notes


def _listed(labels: list[str]) -> str:
    return "; ".join(labels) if len(labels) <= 3 else f"{len(labels)} groups, as {labels[0]}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"  {line}" for line in aligned(rows, "<" + ">" * (len(rows[0]) - 1), WIDTH - 2)]


def _with_columns(head: Sequence[str], row: Sequence[str]) -> list[str]:
    """The cells that the header has columns for, without those of difference, traffic and flatness that it has not."""
    n = next(i for i, name in enumerate(head) if name == "n") + 1
    minus = any(name.startswith("minus ") for name in head)
    more = [cell for name, cell in zip((SENT, *FLAT), row[n + 3 :], strict=True) if name in head]
    return [*row[:n], *(row[n : n + 1] if minus else []), *row[n + 1 : n + 3], *more]


def _progress(passes: float, state: str, reason: str) -> str:
    if state in ("again", "finished", "corrupt"):
        return reason
    return f"after {counted(passes)}" + (f": {reason}" if reason else "")


def counted(passes: float) -> str:
    """As "1 pass" or "2.5 passes"."""
    return f"{passes:.4g} pass{'es' * (passes != 1)}"


def _bar(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=" " * len(indent), break_on_hyphens=False
    )
