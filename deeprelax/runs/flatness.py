"""Measure the flatness of the training loss at the weights of a run: the content of flatness.json."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..configuration.schema import HardwareConf
from ..errors import UserError
from ..flatness.curvature import Curvature
from ..flatness.density import estimated_density
from ..flatness.entropy import curve
from ..flatness.loss import BatchedLoss
from ..flatness.sharpnesses import KINDS, measured
from ..flatness.spectrum import Estimate, eigenvalues, estimated_trace
from ..records.directory import RunDirectory
from ..records.flatness import Asked, of_checkpoint
from .examples import Examples, prepare, restore
from .failures import is_out_of_memory, views_explained
from .precision import single_precision

TOLERANCE = {"float32": 1e-3, "float64": 1e-6}  # of eigenvalues, relative to the largest
Bar = Callable[[str], Callable[..., None]]  # of what is measured now, to what is called after each of its steps


def measure(path: Path, asked: Asked, bar: Bar) -> dict[str, Any]:
    """The content of flatness.json of the run in `path`. No file is written, no random state is moved.

    Raises UserError if the run, its checkpoint or its data are missing or corrupt, if its loss is no mean over
    examples, and for numbers that are out of range.
    """
    begun = time.perf_counter()
    with torch.random.fork_rng(devices=[]):  # loading seeds, and
        run = restore(path, asked)
    with (
        torch.random.fork_rng(devices=[run.device] if run.device.type == "cuda" else []),
        single_precision("float32", run.device),
        _explained(run.conf.hardware),
    ):
        examples, statistics = Examples(run, asked), prepare(run, asked)
        found = _measured(examples, asked, bar)
    how = {
        "images": examples.count, "batch_norm": statistics, "weights": asked.weights, "seed": asked.seed,
        "dropout": "off", "autocast": "off", "dtype": asked.dtype, "device": run.device.type,
        "augmented": False, "which": run.of, "examples": run.task.noun, "asked": asked.to_json(),
        "checkpoint": of_checkpoint(RunDirectory(path)), "deeprelax": version("deeprelax"),
        "seconds": time.perf_counter() - begun,
    }  # fmt: skip
    return strict(found | how)  # type: ignore[no-any-return]


@contextmanager
def _explained(hardware: HardwareConf) -> Iterator[None]:
    """Raise UserError for what cannot be measured, so that the other runs are: numbers, memory, derivatives."""
    try:
        with views_explained(hardware):
            yield
    except UserError:
        raise
    except ValueError as problem:
        raise UserError(str(problem)) from None
    except (RuntimeError, MemoryError) as error:  # of torch, its linear algebra, and ARPACK
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        if is_out_of_memory(error):
            raise UserError(f"not enough memory ({reason}): take fewer --images, or less with --only") from None
        raise UserError(f"torch or ARPACK could not do it ({reason})") from error


def _measured(examples: Examples, asked: Asked, bar: Bar) -> dict[str, Any]:
    loss = BatchedLoss(examples.losses(), examples.parameters)
    value, gradient = loss.value_and_gradient()
    found: dict[str, Any] = {"loss": value, "gradient_norm": float(gradient.norm()), "parameters": loss.d}
    if {"hessian", "density"} & set(asked.parts):
        product = Curvature(loss, progress=bar("Hessian"))
        if "hessian" in asked.parts:
            found["hessian"] = _spectrum(product, asked) | _lowest(product, asked)
        if "density" in asked.parts:
            density = estimated_density(product, 40, 2, asked.seed)
            found["density"] = {"nodes": density.nodes.tolist(), "weights": density.weights.tolist()}
        del product  # and its graphs
    if "gauss_newton" in asked.parts and examples.has_outputs:
        product = Curvature(loss, gauss_newton=True, progress=bar("Gauss-Newton"))
        found["gauss_newton"] = _spectrum(product, asked)
        del product
    if asked.layers:
        found["layers"] = _layers(examples, asked, bar)
    if "sharpness" in asked.parts:
        found["sharpness"] = {kind: _sharpness(loss, kind, asked, bar) for kind in KINDS}
    if "local_entropy" in asked.parts:
        found |= _entropy(examples, asked, bar)
    return found


def _spectrum(product: Curvature, asked: Asked) -> dict[str, Any]:
    k = min(asked.top, product.d) if asked.top == Asked.top else asked.top  # the default fits all networks
    top = eigenvalues(product, k, asked.seed, tolerance=TOLERANCE[asked.dtype])
    whole = estimated_trace(product, asked.products, asked.seed)
    return {
        "eigenvalues": top.values.tolist(), "residuals": top.residuals.tolist(), "converged": top.converged,
        **_trace(whole),
    }  # fmt: skip


def _trace(whole: Estimate) -> dict[str, Any]:
    return {"trace": whole.value, "trace_interval": [whole.low, whole.high], "trace_probes": whole.n}


def _lowest(product: Curvature, asked: Asked) -> dict[str, Any]:
    found = eigenvalues(product, 1, asked.seed, smallest=True, tolerance=TOLERANCE[asked.dtype])
    residual = float(found.residuals[0])
    return {"lowest": float(found.values[0]), "lowest_residual": residual, "lowest_converged": found.converged}


def _layers(examples: Examples, asked: Asked, bar: Bar) -> list[dict[str, Any]]:
    """The block of each module with parameters of its own: its largest eigenvalue and its trace."""
    rows = []
    for name, module in examples.run.model.named_modules():
        own = [p for p in module.parameters(recurse=False) if p.requires_grad]
        if own:
            product = Curvature(BatchedLoss(examples.losses(), own, unused=True), progress=bar(name or "network"))
            top = eigenvalues(product, 1, asked.seed, tolerance=TOLERANCE[asked.dtype])
            rows.append({
                "layer": name or type(module).__name__, "parameters": product.d, "eigenvalue": float(top.values[0]),
                "residual": float(top.residuals[0]), "converged": top.converged,
                **_trace(estimated_trace(product, asked.products, asked.seed)),
            })  # fmt: skip
            del product
    return rows


def _sharpness(loss: BatchedLoss, kind: str, asked: Asked, bar: Bar) -> dict[str, Any]:
    found = measured(loss, kind, samples=asked.samples, seed=asked.seed, progress=bar(f"sharpness {kind}"))
    interval = None if found.low is None else [found.low, found.high]
    return {
        "value": found.value, "interval": interval, "n": found.n, "size": found.size, "invariant": found.invariant,
        "converged": found.converged, "source": KINDS[kind].source,
    }  # fmt: skip


def _entropy(examples: Examples, asked: Asked, bar: Bar) -> dict[str, Any]:
    losses = examples.losses(asked.entropy_images)
    loss = BatchedLoss(losses, examples.parameters)
    temperature = 1 / examples.whole if asked.temperature is None else asked.temperature
    found = curve(loss, asked.gammas, temperature, asked.seed, gradients=asked.gradients, progress=bar("local entropy"))
    points = [
        {
            "gamma": point.gamma, "temperature": temperature, "value": point.value,
            "error": point.error, "converged": point.converged, "effective": point.effective,
            "reason": point.reason,
        }
        for point in found.curve
    ]  # fmt: skip
    return {
        "local_entropy": points, "local_entropy_loss": loss.value(),
        "local_entropy_images": int(sum(weight for weight, _ in losses)), "local_entropy_gradients": found.gradients,
    }  # fmt: skip


def strict(value: Any) -> Any:
    """The value with None for numbers that are not finite, which JSON has not."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: strict(each) for key, each in value.items()}
    return [strict(each) for each in value] if isinstance(value, list) else value
