"""Write a network to a file that needs this package no more, once what was written has been loaded and compared."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from ..errors import UserError
from ..files import replace
from .inference import Classifier

INPUT, OUTPUT = "images", "probabilities"
CLASSES = "classes.json"  # inside a .pt2 file: their names, in the order of the columns
TOLERANCE = 1e-4  # of a probability
BATCHES = (1, 2, 5)  # numbers of images that are compared
NEEDED = ("onnx", "onnxscript", "onnxruntime")


def export(model: Classifier, file: Path) -> float:
    """Write the network to `file`, .pt2 (torch.export) or .onnx; the largest difference of what it returns, read again.

    Raises UserError for other endings, for networks with random weights or that cannot be exported, if packages for
    ONNX are missing, and if the probabilities differ by more than TOLERANCE; the file is then not written.
    """
    writers = {".pt2": _pt2, ".onnx": _onnx}
    if file.suffix not in writers:
        raise UserError(f"{file} ends in neither .pt2 (torch.export) nor .onnx: give a name that does")
    if model.draws is not None:
        raise UserError(
            "a network whose weights are drawn at each call (task=bayesian) is not exported: use load_model"
        )
    if file.suffix == ".onnx" and (missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]):
        raise UserError(
            f"{file} needs {', '.join(missing)}, not installed: pip install 'deeprelax[export]', or give a name in "
            ".pt2, which needs nothing"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what torch will do otherwise some day
            content, run = writers[file.suffix](model)
    except Exception as error:  # whatever a tracer says of code that it cannot follow
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"torch cannot export {type(model.network).__name__} ({reason}): see torch.export") from error
    worst = max(_difference(model, run, n) for n in BATCHES)
    if not worst <= TOLERANCE:
        raise UserError(
            f"{file} is not written: read again, its probabilities differ by {worst:.2g} from the network's"
        )

    def write(there: IO[bytes]) -> None:
        there.write(content)

    replace(file, write)
    return worst


def _difference(model: Classifier, run: Callable[[Tensor], Tensor], n: int) -> float:
    images = _random(model, n)
    with torch.inference_mode():
        return float((run(images) - model(images)).abs().max())


def _random(model: Classifier, n: int) -> Tensor:
    return torch.randint(256, (n, *model.shape), generator=torch.Generator().manual_seed(n), dtype=torch.uint8)


def _pt2(model: Classifier) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    shapes = ({0: torch.export.Dim("N")},)
    program = torch.export.export(model, (_random(model, 3),), dynamic_shapes=shapes)
    written = io.BytesIO()
    torch.export.save(program, written, extra_files={CLASSES: json.dumps(model.classes)})
    written.seek(0)
    return written.getvalue(), torch.export.load(written).module()


def _onnx(model: Classifier) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    import onnxruntime

    for name in ("onnxscript", "onnx_ir"):  # they tell of each pass of their optimizer
        logging.getLogger(name).setLevel(logging.WARNING)
    program = torch.onnx.export(
        model, (_random(model, 3),), dynamo=True, input_names=[INPUT], output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("N")},), external_data=False, verbose=False,
    )  # fmt: skip
    assert program is not None
    program.model.metadata_props["classes"] = json.dumps(model.classes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        program.save(path, external_data=False)
        content = path.read_bytes()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        found: Any = session.run([OUTPUT], {INPUT: images.numpy()})[0]
        return torch.from_numpy(found)

    return content, run
