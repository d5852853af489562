"""What lies in flatness.json: what was asked for, and the numbers that runs are compared by. Imports no torch."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import read_json
from .directory import RunDirectory

PARTS = ("hessian", "gauss_newton", "density", "sharpness", "local_entropy")
DTYPES = ("float32", "float64")
PIECE = 2**20  # bytes read at once
ALIKE = ("weights", "dtype", "seed", "temperature", "entropy_images")  # in what is asked for, of comparable numbers


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
    gammas: tuple[float, ...] = (0.25, 1.0, 4.0)  # a factor of 4 is one panel of the integral
    temperature: float | None = None
    entropy_images: int = 2000
    gradients: int = 1800  # of local entropy
    overrides: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON has it after it was read again."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def agrees(self, other: Mapping[str, Any]) -> bool:
        """Is `other`, as JSON has it, the same but for the parts and layers?"""
        own = self.to_json()
        return own.keys() == other.keys() and all(own[key] == other[key] for key in own.keys() - {"parts", "layers"})

    def beyond(self, other: Mapping[str, Any]) -> Asked:
        """What of it `other`, which agrees, has not."""
        parts = tuple(part for part in self.parts if part not in other.get("parts", ()))
        return replace(self, parts=parts, layers=self.layers and not other.get("layers", False))


def merged(known: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Two contents of flatness.json that agree, in one; what is in both is that of `found`."""
    if not known:
        return dict(found)
    parts = [part for part in PARTS if any(part in each["asked"]["parts"] for each in (known, found))]
    asked = found["asked"] | {"parts": parts, "layers": known["asked"]["layers"] or found["asked"]["layers"]}
    return {**known, **found, "asked": asked, "seconds": known["seconds"] + found["seconds"]}


def of_checkpoint(directory: RunDirectory) -> str:
    """A digest of the run's weights: of its last checkpoint, and of the best one if there is one."""
    found = hashlib.blake2b(digest_size=16)
    last = (each for each in (directory.checkpoint, directory.previous) if each.exists())
    for file in (next(last, None), directory.best if directory.best.exists() else None):
        if file is not None:
            with file.open("rb") as content:
                while piece := content.read(PIECE):
                    found.update(piece)
    return found.hexdigest()


def stored(directory: RunDirectory) -> dict[str, Any]:
    """The content of flatness.json; empty if the run has none. Raises UserError if it is corrupt."""
    if not directory.flatness.exists():
        return {}
    try:
        found = read_json(directory.flatness)
    except UserError:
        raise corrupt(directory) from None
    if not isinstance(found.get("asked", {}), dict):
        raise corrupt(directory)
    return found


def corrupt(directory: RunDirectory) -> UserError:
    """What is raised for a flatness.json that is not as it was written."""
    return UserError(f"{directory.flatness} is corrupt: deeprelax flatness {directory.shown()} measures it again")


def drawn(content: Mapping[str, Any]) -> bool:
    """Does flatness.png show anything of it: the density, or the curve of local entropy?"""
    return "density" in content or bool(content.get("local_entropy"))


def is_current(content: Mapping[str, Any], directory: RunDirectory) -> bool:
    """Is it of the weights that the run has now? Checkpoints no newer than the file are not read for that."""
    measured = directory.flatness.stat().st_mtime
    files = [file for file in (directory.checkpoint, directory.previous, directory.best) if file.exists()]
    unchanged = bool(files) and all(file.stat().st_mtime < measured for file in files)
    return unchanged or content.get("checkpoint") == of_checkpoint(directory)


def comparable(directories: Iterable[RunDirectory]) -> tuple[dict[Path, dict[str, float]], dict[Path, str]]:
    """The numbers of the runs that were measured, and why those of some are skipped, by the runs' directories.

    Skipped are those of other weights than the run has now, and those that were not measured as the most were: on as
    many examples, of the same weights, data type, seed and temperature.
    """
    found, how, why = {}, {}, {}
    for directory in directories:
        try:
            if not (content := stored(directory)):
                continue
            values = numbers(content, directory)
            if not is_current(content, directory):
                why[directory.path] = "its flatness.json is of other weights than it has now: measure it again"
                continue
        except UserError as problem:
            why[directory.path] = str(problem)
            continue
        asked = content.get("asked", {})
        settings = {"images": content.get("images")} | {key: asked.get(key) for key in ALIKE}
        found[directory.path], how[directory.path] = values, ", ".join(f"{k}={v}" for k, v in settings.items())
    usual = Counter(how.values()).most_common(1)
    for path, settings_of in how.items():
        if settings_of != usual[0][0]:
            del found[path]
            why[path] = f"its flatness was measured with {settings_of}, not {usual[0][0]}: measure all alike"
    return found, why


def numbers(content: Mapping[str, Any], directory: RunDirectory) -> dict[str, float]:
    """The numbers of flatness.json that runs are compared by, by their names; those that were not measured lack.

    "local entropy G" is u(x, G) - f(x), at each gamma that converged.
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
        raise corrupt(directory) from None
