"""`deeprelax compare`: tables and curves of the runs under some folders."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from ..errors import UserError
from ..files import replace_text
from ..reporting import files, text
from ..reporting.comparison import compare
from ..reporting.rows import Comparison
from ..reporting.runs import find

AXES = ("evaluations", "passes", "seconds")
FOLDER = "compare"  # inside the first directory


class Parser(argparse.ArgumentParser):
    """argparse, but a mistake is one sentence."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}: see deeprelax compare --help")


def parser() -> Parser:
    made = Parser(
        prog="deeprelax compare",
        description="Group runs by what differs between them, and compare the groups: mean and standard deviation over "
        "seeds, paired differences from SGD, cost, curves. Writes table.md, table.csv, table.json, curves.png and "
        "curves.pdf.",
        allow_abbrev=False,
    )
    made.add_argument("directories", nargs="+", type=Path, metavar="DIR", help="a folder of runs, as outputs/smoke")
    made.add_argument("--x", choices=AXES, default=AXES[0], help="axis of the curves (default: %(default)s)")
    made.add_argument(
        "--by", metavar="KEY,KEY", help="group by these keys, as optimizer,gamma (default: all that differ)"
    )
    made.add_argument("--metric", default="test_error", help="a number of result.json (default: %(default)s)")
    made.add_argument(
        "--baseline", metavar="KEY=VALUE,...", help="runs to take differences from (default: optimizer=sgd)"
    )
    made.add_argument("--out", type=Path, help=f"folder of what is written (default: DIR/{FOLDER} of the first DIR)")
    return made


def main(arguments: list[str]) -> None:
    given = parser().parse_args(arguments)
    runs, notes = find(given.directories)
    if not runs:
        raise UserError(f"no runs under {', '.join(map(str, given.directories))}: deeprelax train makes some")
    by = [word.strip() for word in given.by.split(",") if word.strip()] if given.by else None
    found = compare(runs, given.metric, by or None, given.baseline)
    found.notes.extend(notes)
    say(text.terminal(found) + "\n")
    out = given.out or given.directories[0] / FOLDER
    written = write(found, out, given.x)
    say(f"Written to {out}: {', '.join(written)}")


def write(found: Comparison, out: Path, x: str) -> list[str]:
    """Tables and, if a run has something to draw, curves. Returns the names of the files."""
    out.mkdir(parents=True, exist_ok=True)
    tables = {"table.md": text.markdown(found), "table.csv": files.as_csv(found), "table.json": files.as_json(found)}
    for name, content in tables.items():
        replace_text(out / name, content)
    from ..reporting import figure  # late: matplotlib takes most of a second

    return [*tables, *figure.write(found, out, x)]


def say(words: str) -> None:
    """Print; with plain letters where the terminal has no others."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        words.encode(encoding)
    except UnicodeEncodeError:
        words = words.replace("±", "+-").encode(encoding, "replace").decode(encoding)
    print(words, flush=True)
