"""Read the arguments of the commands that are no Hydra applications."""

from __future__ import annotations

import argparse
import sys
from typing import Any, NoReturn

from ..errors import UserError


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UserError instead of printing its usage and exiting."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}: see {self.prog} --help")


def add_weights(parser: Parser) -> None:
    """The option --weights."""
    parser.add_argument(
        "--weights", choices=("last", "best", "average"), default="last",
        help="of the last checkpoint, of the best evaluation (train.keep=best), or the mean (train.average); default: "
        "%(default)s",
    )  # fmt: skip


def confirmed(question: str) -> bool:
    """Ask on the terminal; whether the answer is y or yes. Raises UserError where nobody can answer."""
    print(f"{question} [y/N] ", end="", flush=True)
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    if not answer:
        print()
        raise UserError("nothing is deleted, for there is no answer to be read: --yes deletes without asking")
    return answer.strip().lower() in ("y", "yes")
