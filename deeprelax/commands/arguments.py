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

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's; weights=best, as `evaluate` and `load_model` have it, is --weights=best."""
        words = list(sys.argv[1:] if args is None else args)
        if "--weights" in self._option_string_actions:
            words = [f"--{word}" if word.startswith("weights=") else word for word in words]
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}: see {self.prog} --help")


def add_weights(parser: Parser) -> None:
    """The option --weights; where there are no such weights, who takes them says so."""
    parser.add_argument(
        "--weights", metavar="{last,best,average}", default="last",
        help="of the last checkpoint, of the best evaluation (train.keep=best), or the mean (train.average); "
        "weights=... means the same; default: %(default)s",
    )  # fmt: skip


def confirmed(question: str) -> bool:
    """Ask on the terminal; whether the answer is y or yes. Raises UserError where nobody can answer."""
    print(f"{question} [y/N] ", end="", flush=True)
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    if not answer:
        print()
        raise UserError("nothing is deleted, for there is no answer to be read: --yes deletes without asking")
    return answer.strip().lower() in ("y", "yes")
