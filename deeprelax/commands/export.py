"""Run `deeprelax export`: a run's network in a file that needs this package no more."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from .arguments import Parser, add_weights


def parser() -> Parser:
    """The parser of the command's arguments."""
    made = Parser(
        prog="deeprelax export",
        description="Write the network of an image-classification run to FILE.pt2 (torch.export, needs nothing) or "
        "FILE.onnx (needs pip install 'deeprelax[export]'). In: uint8 images (N, channels, size, size), any N; the "
        "normalisation is inside. Out: probabilities (N, classes). What was written is read again and compared before "
        "the command says done.",
    )
    made.add_argument("run", type=Path, metavar="RUN", help="a run directory, as printed by `deeprelax train`")
    made.add_argument("file", type=Path, metavar="FILE", help="name of the file, in .pt2 or .onnx; replaced if there")
    add_weights(made)
    return made


def main(arguments: list[str]) -> None:
    """Export the network and print what the file takes and returns. Raises UserError."""
    options = parser().parse_args(arguments)
    if not options.file.absolute().parent.is_dir():
        raise UserError(f"{options.file}: there is no folder {options.file.parent}: make it first")
    from ..runs.export import export
    from ..runs.inference import load_model

    model = load_model(options.run, options.weights)
    difference = export(model, options.file)
    shape = ", ".join(map(str, model.shape))
    print(
        f"{options.file}: uint8 (N, {shape}) to probabilities (N, {len(model.classes)}); read again and compared on "
        f"random images, they differ by {difference:.1e} at most ({model.of})"
    )
