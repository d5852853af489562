"""Run `deeprelax sample`: text that a run's network writes."""

from __future__ import annotations

import math
import sys
from pathlib import Path

from ..configuration.check import load
from ..configuration.registry import resolve
from ..errors import UserError
from ..records.directory import RunDirectory
from .arguments import Parser, add_weights

LONGEST = 1_000_000  # characters


def parser() -> Parser:
    """The parser of the command's arguments."""
    made = Parser(
        prog="deeprelax sample",
        description="Print text that the network of a run of task=tokens writes, from its latest checkpoint.",
    )
    made.add_argument("run", type=Path, metavar="RUN", help="a run directory, as printed by `deeprelax train`")
    made.add_argument("--length", type=int, default=200, metavar="N", help="characters (default: %(default)s)")
    made.add_argument("--prompt", metavar="TEXT", help="what to begin with (default: the end of the training text)")
    made.add_argument(
        "--temperature", type=float, default=1.0, metavar="T",
        help="of the softmax that characters are drawn from; 0: always the likeliest (default: %(default)s)",
    )  # fmt: skip
    add_weights(made)
    made.add_argument("--seed", type=int, default=0, metavar="S", help="another one, another text (default: 0)")
    return made


def main(arguments: list[str]) -> None:
    """Print the prompt and what follows. Raises UserError."""
    options = parser().parse_args(arguments)
    if not 1 <= options.length <= LONGEST:
        raise UserError(f"--length {options.length} is out of range: it must be an integer from 1 to {LONGEST}")
    if not 0 <= options.temperature < math.inf:
        raise UserError(f"--temperature {options.temperature:g} is out of range: it must be a finite number >= 0")
    print((options.prompt or "") + written(options.run, **{k: v for k, v in vars(options).items() if k != "run"}))


def written(path: Path, length: int, prompt: str | None, temperature: float, seed: int, weights: str = "last") -> str:
    """What the network of the run in `path` writes after the prompt; of other weights than the last ones it says which.

    Raises UserError if the directory, its configuration, its checkpoint or its text are missing or corrupt, if the run
    has no such weights or is not one of task=tokens, and for a prompt with characters that its training text has not.
    """
    if not path.is_dir():
        raise UserError(f"{path} is not a directory: give the directory of a run")
    conf = load(RunDirectory(path).config)
    from ..runs.precision import single_precision
    from ..runs.restored import restored
    from ..tasks.tokens import Tokens

    kind = resolve("task", conf.task.name)
    if not (isinstance(kind, type) and issubclass(kind, Tokens)):
        raise UserError(
            f"{path} is a run of task={conf.task.name}, whose network writes no text: take one of task=tokens"
        )
    run = restored(path, ["hardware.device=auto"], weights)  # which need not be where it was trained
    assert isinstance(run.task, Tokens)
    if run.data != run.task.fingerprint:
        raise UserError(f"the text is not the one that {path} was trained on: has task.path been changed?")
    if weights != "last":
        print(f"({run.of})", file=sys.stderr)  # standard output is the text alone
    with single_precision(run.conf.hardware.precision, run.device):
        return run.task.sample(run.model, length, prompt, temperature, seed)
