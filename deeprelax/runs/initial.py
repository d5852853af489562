"""`init_from`, `model.weights`: start from the weights of another run or of a file, and from nothing else of it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..configuration.schema import TrainConf
from ..errors import UserError
from ..records import checkpoint
from .continuation import initial_place

ADVICE = "give the directory of a run, or a file that torch.save wrote of a state dict"


def start_from(conf: TrainConf, model: nn.Module, kept: Collection[str] = ()) -> str | None:
    """Give the network the weights that `init_from` or `model.weights` names, if one does; their digest.

    kept: names of the buffers that the task keeps with the network, which stay as they are.

    Raises UserError if they are not there, corrupt, not finite, or of another network.
    """
    if (file := file_of_weights(conf)) is not None:
        return _from_torchvision(model, file)
    place = initial_place(conf)
    if place is None:
        return None
    weights = {name: tensor for name, tensor in _weights(place).items() if name not in kept}
    if any(t.is_floating_point() and not torch.isfinite(t).all() for t in weights.values()):
        raise UserError(f"init_from={place} holds weights that are not finite: name another run or file")
    try:
        model.load_state_dict(weights | {name: tensor for name, tensor in model.state_dict().items() if name in kept})
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip().rstrip(".")
        raise UserError(
            f"init_from={place} holds the weights of another network than model={conf.model.name} here ({reason}): "
            "choose the network and the task that they are of, or leave init_from out"
        ) from None
    return _digest(weights)


def file_of_weights(conf: TrainConf) -> Path | None:
    """What `model.weights` names. Raises UserError for a value that is no path."""
    given = getattr(conf.model, "weights", None)
    return None if given is None else Path(given).expanduser()


def _from_torchvision(model: nn.Module, file: Path) -> str:
    from ..models.torchvision_models import load_weights  # imports torchvision

    try:
        load_weights(model, str(file))
    except ValueError as error:
        raise UserError(f"model.{error}") from None
    return sha256_of(file)


def check_same_file(conf: TrainConf, state: Mapping[str, Any]) -> None:
    """Raise UserError if `model.weights` is there, but is not the file that the run began with. It need not be."""
    file = file_of_weights(conf)
    if file is not None and file.is_file() and sha256_of(file) != state.get("initial"):
        raise UserError(
            f"model.weights={conf.model.weights} is not the file that the run began with: put that one back, or "  # type: ignore[attr-defined]
            "start again with force=true"
        )


def sha256_of(file: Path) -> str:
    """Of the file's bytes, as in the names of torchvision's files."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _weights(place: Path) -> dict[str, Tensor]:
    """The state dict in a run's directory or a file, on the CPU."""
    try:
        if place.is_dir():
            found: Any = (checkpoint.latest(place) or {}).get("model")
        else:
            found = checkpoint.load(place)["model"] if checkpoint.is_ours(place) else _of_torch(place)
    except UserError as error:
        raise UserError(f"init_from={place}: {error}") from None
    if found is None:
        raise UserError(f"init_from={place} has reached no checkpoint yet: resume it by its own command first")
    if not isinstance(found, dict) or not found or not all(_is_weight(*item) for item in found.items()):
        raise UserError(f"init_from={place} holds no state dict, names with tensors: {ADVICE}")
    return dict(found)


def _of_torch(place: Path) -> Any:
    content = io.BytesIO(place.read_bytes())
    try:
        return torch.load(content, map_location="cpu", weights_only=True) or {}
    except Exception:  # whatever torch.load makes of bytes that are not its own, or of code, which it does not run
        raise UserError(f"the file is corrupt, or holds more than tensors: {ADVICE}") from None


def _is_weight(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor) and value.layout is torch.strided


def _digest(weights: dict[str, Tensor]) -> str:
    """Of names, shapes, types and numbers: the same for the same weights, in whichever file."""
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        tensor = weights[name].contiguous()
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
