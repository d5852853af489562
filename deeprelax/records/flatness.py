"""What lies in flatness.json: what was asked for, and the numbers that runs are compared by. Imports no torch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..files import corrupt, read_json
from .directory import RunDirectory

PARTS = ("hessian", "gauss_newton", "density", "sharpness", "local_entropy")
DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Asked:
    """What is measured. images: None for all. temperature: None for one over the number of training examples."""

    parts: tuple[str, ...] = PARTS
    images: int | None = None
    top: int = 5
    seed: int = 0
    dtype: str = DTYPES[0]
    weights: str = "last"
    layers: bool = False
    products: int = 45  # with the matrix, of a trace
    samples: int = 30  # pairs of random steps of an average
    gammas: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
    temperature: float | None = None
    entropy_images: int = 2000
    gradients: int = 3000  # of local entropy
    overrides: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON has it after it was read again."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def of_checkpoint(directory: RunDirectory) -> str:
    """A digest of the run's weights: of its last checkpoint, and of the best one if there is one."""
    found = hashlib.blake2b(digest_size=16)
    last = (each for each in (directory.checkpoint, directory.previous) if each.exists())
    for file in (next(last, None), directory.best if directory.best.exists() else None):
        found.update(b"" if file is None else file.read_bytes())
    return found.hexdigest()


def stored(directory: RunDirectory) -> dict[str, Any]:
    """The content of flatness.json; empty if the run has none. Raises UserError if it is corrupt."""
    return read_json(directory.flatness) if directory.flatness.exists() else {}


def numbers(content: Mapping[str, Any], directory: RunDirectory) -> dict[str, float]:
    """The numbers of flatness.json that runs are compared by, by their names; those that were not measured lack.

    "local entropy" is u(x, gamma) - f(x) at the largest gamma that converged; its name says which.
    Raises UserError if the file is corrupt.
    """
    found: dict[str, Any] = {}
    try:
        for name, title in (("hessian", "Hessian"), ("gauss_newton", "Gauss-Newton")):
            if name in content:
                found[f"{title} top"] = content[name]["eigenvalues"][0]
                found[f"{title} trace"] = content[name]["trace"]
        for kind, values in content.get("sharpness", {}).items():
            found[f"sharpness {kind}"] = values["value"]
        for point in content.get("local_entropy", []):
            if point["converged"]:
                found[f"local entropy {point['gamma']:g}"] = point["value"] - content["local_entropy_loss"]
        return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}
    except (KeyError, TypeError, IndexError, AttributeError, ValueError):
        raise corrupt(directory.flatness) from None
