"""Run `deeprelax compare`: write tables and curves of the runs under some folders."""

from __future__ import annotations

import sys
from pathlib import Path

from ..errors import UserError
from ..files import replace_text
from ..reporting import export, text
from ..reporting.comparison import compare
from ..reporting.latex import latex
from ..reporting.loading import find_runs, tagged
from ..reporting.rows import Comparison, profile
from ..reporting.targets import aim
from .arguments import Parser

AXES = ("evaluations", "passes", "seconds")
FOLDER = "compare"  # inside the first directory
LATEX = "table.tex"


def parser() -> Parser:
    """The parser of the command's arguments."""
    made = Parser(
        prog="deeprelax compare",
        description="Group runs by what differs between them, and compare the groups: mean and standard deviation over "
        "seeds, paired differences from SGD, cost, curves. Writes table.md, table.csv, table.json, curves.png and "
        "curves.pdf; with --target over several problems a performance profile, profile.png and profile.pdf.",
    )
    made.add_argument("directories", nargs="+", type=Path, metavar="DIR", help="a folder of runs, as outputs/smoke")
    made.add_argument("--x", choices=AXES, default=AXES[0], help="axis of the curves (default: %(default)s)")
    made.add_argument(
        "--by", metavar="KEY,KEY", help="group by these keys, as optimizer,gamma (default: all that differ)"
    )
    made.add_argument(
        "--metric", help="a number of result.json (default: the task's first score on test data, as test_error)"
    )
    made.add_argument(
        "--baseline", metavar="KEY=VALUE,...", help="runs to take differences from (default: optimizer=sgd)"
    )
    made.add_argument(
        "--tag",
        action="append",
        default=[],
        help="only runs with this tag (tags=[...] of deeprelax train); again: and this",
    )
    made.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="VALUE",
        help="also what reaching this value of the metric cost, median over seeds; NAME=VALUE for the tables of one "
        "data set, task or network, again for others",
    )
    made.add_argument("--seeds", action="store_true", help="a column for each seed")
    made.add_argument("--latex", action="store_true", help="write table.tex too, for LaTeX with booktabs")
    made.add_argument("--out", type=Path, help=f"folder of what is written (default: DIR/{FOLDER} of the first DIR)")
    return made


def main(arguments: list[str]) -> None:
    """Compare the runs, print the tables, write the files. Raises UserError."""
    options = parser().parse_args(arguments)
    runs, notes = find_runs(options.directories)
    if not runs:
        raise UserError(f"no runs under {', '.join(map(str, options.directories))}: deeprelax train makes some")
    runs = tagged(runs, options.tag)
    by = [key.strip() for key in options.by.split(",") if key.strip()] if options.by else None
    found = compare(runs, options.metric, by or None, options.baseline)
    found.notes.extend(notes)
    for table in found.tables if options.seeds else ():
        table.seeds = sorted({run.seed for row in table.rows for run in row.counted})
    if options.target:
        aim(found, options.target)
        found.profile = profile(found.tables)
    show(text.terminal(found) + "\n")
    out = options.out or options.directories[0] / FOLDER
    written = write(found, out, options.x)
    if options.latex:
        replace_text(out / LATEX, latex(found))
        written.append(LATEX)
    show(f"Written to {out}: {', '.join(written)}")


def write(found: Comparison, out: Path, x: str) -> list[str]:
    """Write the tables and, if a run has a result to draw, the curves. Returns the names of the files."""
    out.mkdir(parents=True, exist_ok=True)
    tables = {"table.md": text.markdown(found), "table.csv": export.as_csv(found), "table.json": export.as_json(found)}
    for name, content in tables.items():
        replace_text(out / name, content)
    from ..reporting import figure  # late: matplotlib takes most of a second
    from ..reporting import profile as of_problems

    baseline = next((table.baseline for table in found.tables if table.baseline), "")
    return [*tables, *figure.write(found, out, x), *of_problems.write(found.profile, baseline, out)]


def show(message: str) -> None:
    """Print a message, in the characters that the terminal's encoding has."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        message.encode(encoding)
    except UnicodeEncodeError:
        # not stdout.reconfigure(errors="replace"): it would make a "?" of the ± between every mean and deviation
        message = (
            message.replace("±", "+-")
            .replace("≤", "<=")
            .replace("≥", ">=")
            .encode(encoding, "replace")
            .decode(encoding)
        )
    print(message, flush=True)
