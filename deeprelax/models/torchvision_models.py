"""Build the classification networks of torchvision.models for the data at hand, with weights from a file."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

# What a network in training gives beside the logits, and its weights in a file: built without
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")  # norm.1 in files older than its layers' names
ADVICE = "give a file that torch.save wrote of a torchvision network's state_dict"


def torchvision_model(
    channels: int, image_size: int, classes: int, architecture: str = "resnet18", weights: str | None = None
) -> nn.Module:
    """A network of torchvision.models, with torchvision's names of parameters and a head for the classes at hand.

    Input (batch, channels, size, size), output (batch, classes). Nothing is downloaded. Of GoogLeNet and Inception v3
    the auxiliary heads are not built. A grey image is taken as one of three equal channels: the first convolution's
    weights are summed over them.

    Args:
        channels, image_size, classes: of the data set; channels 1 or 3.
        architecture: a name of `torchvision.models.list_models(module=torchvision.models)`.
        weights: a file with a state_dict of that architecture, see `load_weights`; None: torchvision's random ones.

    Raises ValueError for an architecture that is unknown or cannot take such images, and as `load_weights`.
    """
    known = models.list_models(module=models)
    if architecture not in known:
        near = " or ".join(difflib.get_close_matches(architecture, known, n=3))
        raise ValueError(
            f"architecture={architecture} is no classification network of torchvision.models"
            f"{f' (did you mean {near}?)' if near else ''}: torchvision.models.list_models() has their names"
        )
    if channels not in (1, 3):
        raise ValueError(f"architecture={architecture} takes images of 1 or 3 channels, these have {channels}")
    try:
        network: nn.Module = models.get_model(
            architecture, weights=None, num_classes=classes, **_options(architecture, image_size)
        )
        if channels == 1:
            stem = first_convolution(network)
            stem.in_channels, stem.weight = 1, nn.Parameter(stem.weight.detach().sum(1, keepdim=True))
        _try(network, torch.zeros(1, channels, image_size, image_size))
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ValueError(
            f"architecture={architecture} cannot take images of {image_size} pixels ({reason}): "
            "set dataset.image_size=224, which all can, or take another architecture"
        ) from None
    if weights is not None:
        load_weights(network, weights)
    return network


def _options(architecture: str, image_size: int) -> dict[str, Any]:
    if architecture.startswith("vit_"):
        return {"image_size": image_size}
    if architecture.startswith("maxvit"):
        return {"input_size": (image_size, image_size)}
    return {"aux_logits": False, "init_weights": True} if architecture in ("googlenet", "inception_v3") else {}


@torch.no_grad()
def _try(network: nn.Module, image: Tensor) -> None:
    network.eval()(image)
    network.train()


def first_convolution(network: nn.Module) -> nn.Conv2d:
    """What sees the images."""
    return next(module for module in network.modules() if isinstance(module, nn.Conv2d))


def head_of(network: nn.Module) -> str:
    """The name of the layer that gives the logits: the last linear one, or of SqueezeNet the last 1x1 convolution."""
    layers: list[str] = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return layers[-1]


def load_weights(network: nn.Module, file: str) -> None:
    """Give a torchvision network the weights of a state_dict in a file, which runs no code.

    A head of another shape, that is for other classes, stays as it is; so does nothing else. Of a first convolution for
    three channels a network for grey images takes the sum over them.

    Raises ValueError if the file is missing, corrupt, or its weights are not finite or not this network's.
    """
    found = _state_dict(file)
    own, head, stem = network.state_dict(), head_of(network), first_convolution(network)
    (stem_name,) = (f"{name}.weight" for name, module in network.named_modules() if module is stem)
    for name in list(found):
        if name.startswith(AUXILIARY):
            del found[name]
        elif (today := OLD_DENSENET.sub(r"\1\2.", name)) != name:
            found[today] = found.pop(name)
    if stem.in_channels == 1 and stem_name in found and found[stem_name].ndim == 4:
        found[stem_name] = found[stem_name].sum(1, keepdim=True)
    of_head = {name for name in own if name.startswith(f"{head}.")}
    others = {name for name in own.keys() & found.keys() if own[name].shape != found[name].shape}
    if unlike := sorted(others - of_head):
        shown = ", ".join(f"{name} {tuple(found[name].shape)} not {tuple(own[name].shape)}" for name in unlike[:3])
        more = f" and {len(unlike) - 3} more" * (len(unlike) > 3)
        cause = "name their architecture"
        if unlike == ["encoder.pos_embedding"]:  # one for each patch
            cause = "set dataset.image_size to that of the weights, mostly 224"
        raise ValueError(f"weights={file} has other shapes than the network ({shown}{more}): {cause}")
    if others:
        found |= {name: own[name] for name in of_head}
    try:
        missing, unexpected = network.load_state_dict(found, strict=False)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[-1].strip().rstrip(".")
        raise ValueError(f"weights={file} does not fit the network ({reason}): name their architecture") from None
    if missing or unexpected:
        lacks = [f"lacks {missing[0]} (of {len(missing)})"] if missing else []
        extra = [f"has {unexpected[0]} (of {len(unexpected)}), which the network has not"] if unexpected else []
        raise ValueError(f"weights={file} is of another network: it {' and '.join(lacks + extra)}")


def _state_dict(file: str) -> dict[str, Tensor]:
    path = Path(file).expanduser()
    if not path.is_file():
        raise ValueError(f"weights={file} is not there: {ADVICE}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception:  # whatever torch.load makes of bytes that are not its own, or of code, which it does not run
        raise ValueError(f"weights={file} is corrupt, or holds more than tensors: {ADVICE}") from None
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(f"weights={file} holds no state_dict, names with tensors: {ADVICE}")
    if any(t.is_floating_point() and not torch.isfinite(t).all() for t in found.values()):
        raise ValueError(f"weights={file} holds weights that are not finite: name another file")
    return found
