"""Noisy values of u at points: drawn from a known solution, or read from a table of the user's."""

from __future__ import annotations

import csv
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...errors import UserError
from ...randomness import Purpose, derive_seed
from .known import CATALOG, on_the_grid

LEAST = 10  # rows


@dataclass(frozen=True)
class Measured:
    """points (n, d) and values (n,) in float64 on the CPU; inputs: names of the coordinates; sigma: of the noise."""

    inputs: tuple[str, ...]
    points: Tensor
    values: Tensor
    sigma: float | None = None

    @property
    def digest(self) -> str:
        """Of all numbers."""
        return hashlib.sha256(self.points.numpy().tobytes() + self.values.numpy().tobytes()).hexdigest()


def drawn(equation: str, count: int, noise: float, seed: int) -> Measured:
    """Uniform points of an equation's box, or those of the grid, and its solution with noise * its deviation."""
    known = CATALOG[equation]
    where, what = (torch.Generator().manual_seed(derive_seed(seed, Purpose.PROBLEM, i)) for i in range(2))
    if known.solution is None:
        points, values = on_the_grid(count)
    else:
        low, high = (torch.tensor(ends, dtype=torch.float64) for ends in (known.low, known.high))
        points = low + (high - low) * torch.rand(count, len(low), generator=where, dtype=torch.float64)
        values = known.solution(points, known.true)
    sigma = noise * float(values.std())
    return Measured(
        known.inputs, points, values + sigma * torch.randn(len(values), generator=what, dtype=values.dtype), sigma
    )


def read(path: str) -> Measured:
    """A CSV file with a line of names, as t,x,u: coordinates of one letter each, and u last.

    Raises UserError, naming file and line, for what is missing or no number, and for a column that never changes.
    """
    file = Path(path).expanduser()
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            lines = [(i, row) for i, row in enumerate(csv.reader(stream), 1) if row]
    except OSError as error:
        raise UserError(f"task.path={file}: {error.strerror}: it must be a CSV file with columns as t,x,u") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"task.path={file} is no text in UTF-8 with commas ({error})") from None
    names = tuple(name.strip() for name in lines[0][1]) if lines else ()
    _check_names(names, file)
    table = torch.tensor([_numbers(row, i, len(names), file) for i, row in lines[1:]], dtype=torch.float64)
    if len(table) < LEAST:
        raise UserError(f"task.path={file} has {len(table)} rows below its names: at least {LEAST} are needed")
    for name, column in zip(names, table.T, strict=True):
        if column.min() == column.max():
            raise UserError(f"task.path={file}: {name} is {column[0]:g} in all rows, and must change")
    return Measured(names[:-1], table[:, :-1], table[:, -1])


def _check_names(names: tuple[str, ...], file: Path) -> None:
    good = [name for name in names[:-1] if len(name) == 1 and name.isalpha() and name.isascii() and name != "u"]
    if len(names) < 2 or names[-1] != "u" or len(set(good)) != len(names) - 1:
        raise UserError(
            f"task.path={file} begins with {','.join(names)!r}, and must with the names of its columns: coordinates of "
            "one letter each, and u last, as t,x,u"
        )


def _numbers(row: list[str], line: int, count: int, file: Path) -> list[float]:
    if len(row) != count:
        raise UserError(f"task.path={file}, line {line}: {len(row)} values, and there are {count} columns")
    found = []
    for cell in row:
        try:
            number = float(cell)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UserError(f"task.path={file}, line {line}: {cell.strip()!r} is no finite number")
        found.append(number)
    return found
