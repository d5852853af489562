"""Run `deeprelax predict`: what a run's network sees on image files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..files import replace_text
from ..tables import aligned
from .arguments import Parser, add_weights

if TYPE_CHECKING:
    from torch import Tensor

    from ..runs.inference import Classifier

SHOWN = 40  # files in the table on the terminal
COLUMNS = 20  # the most classes whose matrix fits there


def parser() -> Parser:
    """The parser of the command's arguments."""
    made = Parser(
        prog="deeprelax predict",
        description="Say which classes the network of an image-classification run sees on pictures. They are cut and "
        "resized to its input as dataset=image_folder does it. A folder whose sub-folders are called as the classes "
        "is scored too: error, confusion matrix, recall of each class.",
    )
    made.add_argument("run", type=Path, metavar="RUN", help="a run directory, as printed by `deeprelax train`")
    made.add_argument("paths", type=Path, nargs="+", metavar="FILE|FOLDER", help="pictures, or a folder of them")
    made.add_argument("--top", type=int, default=1, metavar="K", help="classes a picture (default: %(default)s)")
    add_weights(made)
    made.add_argument("--out", type=Path, metavar="FILE", help="write all rows there, as CSV")
    return made


def main(arguments: list[str]) -> None:
    """Print a table of files, classes and probabilities; write it to --out. Raises UserError."""
    options = parser().parse_args(arguments)
    from ..data.sources.pictures import find
    from ..runs.inference import load_model, predicted

    model = load_model(options.run, options.weights)
    classes = model.classes
    if not 1 <= options.top <= len(classes):
        raise UserError(f"--top {options.top} is out of range: it must be an integer from 1 to {len(classes)}")
    if options.out is not None and not options.out.absolute().parent.is_dir():
        raise UserError(f"--out {options.out}: there is no folder {options.out.parent}: make it first")
    pictures = find(options.paths, classes)
    log_p = predicted(model, pictures)
    rows = list(_rows(pictures.files, log_p, model, options.top))
    shown = [_rounded(row) for row in (rows if len(rows) <= SHOWN else rows[: SHOWN // 2])]
    print("\n".join(aligned([_heading(options.top), *shown], "<" + "<>" * options.top)))
    if len(shown) < len(rows):
        print(f"and {len(rows) - len(shown)} more" + ("" if options.out else ": --out FILE writes all"))
    print(f"({model.of})")
    if options.out is not None:
        _write(options.out, _heading(options.top), rows, pictures.labels, classes)
        print(f"{len(rows)} rows in {options.out}")
    if pictures.labels is not None:
        print(f"\n{scored(log_p, pictures.labels, classes)}")


def _heading(top: int) -> list[str]:
    return [
        "file",
        "class",
        "probability",
        *(f"{what}_{k}" for k in range(2, top + 1) for what in ("class", "probability")),
    ]


def _rows(files: Sequence[Path], log_p: Tensor, model: Classifier, top: int) -> Iterator[list[str]]:
    found = log_p.exp().topk(top, dim=1)
    for file, values, places in zip(files, found.values.tolist(), found.indices.tolist(), strict=True):
        pairs = zip(places, values, strict=True)
        yield [str(file), *(word for place, value in pairs for word in (model.classes[place], f"{value:.6g}"))]


def _rounded(row: list[str]) -> list[str]:
    """For the terminal: four decimals of each probability, every second cell."""
    return [f"{float(cell):.4f}" if i and i % 2 == 0 else cell for i, cell in enumerate(row)]


def _write(
    file: Path, heading: list[str], rows: Sequence[list[str]], labels: Tensor | None, classes: Sequence[str]
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heading + ["label"] * (labels is not None))
    for i, row in enumerate(rows):
        writer.writerow(row if labels is None else [*row, classes[int(labels[i])]])
    replace_text(file, text.getvalue())


def scored(log_p: Tensor, labels: Tensor, classes: Sequence[str]) -> str:
    """Error, confusion matrix and recall of each class, for the terminal."""
    from ..tasks.confusion import balanced_error, class_errors, confusion, constant_answer

    matrix = confusion(labels, log_p.argmax(1), len(classes))
    wrong, images = int(matrix.sum() - matrix.diagonal().sum()), len(labels)
    lines = [
        f"error {100 * wrong / images:.2f} % ({wrong} of {images} images), mean over the classes "
        f"{balanced_error(matrix):.2f} %"
    ]
    if (answer := constant_answer(matrix)) is not None:
        lines.append(f"! that is the error of always answering {classes[answer]}, the largest class")
    recalls = ["" if error is None else f"{100 - error:.2f} %" for error in class_errors(matrix)]
    shown = len(classes) <= COLUMNS
    rows = [["class", *(classes if shown else ()), "images", "recall"]]
    for name, counts, recall in zip(classes, matrix.tolist(), recalls, strict=True):
        rows.append([name, *(map(str, counts) if shown else ()), str(sum(counts)), recall])
    title = "confusion matrix: a row for each class, a column for each prediction" if shown else "recall of each class"
    return "\n".join([*lines, title, *aligned(rows, "<" + ">" * (len(rows[0]) - 1))])
