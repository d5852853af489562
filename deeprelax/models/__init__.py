"""Define the networks, which depend on torch only, two of them on torchvision too.

A network is built with the keywords of the task's shape and its own options. Those of images,
`Network(channels, image_size, classes, **options)`, map (batch, channels, size, size) to logits (batch, classes); an
optional attribute `smallest_image`, in pixels, guards against images that they cannot take. Those of vectors,
`Network(inputs, outputs, **options)`, map (batch, inputs) to (batch, outputs). Those of tokens,
`Network(vocabulary, **options)`, map integers (batch, length) to logits (batch, length, vocabulary).
The classes are imported when they are first used, so that the choices can be read without importing torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .all_cnn import AllCNN as AllCNN
    from .dense import Dense as Dense
    from .diagonal import DiagonalLinear as DiagonalLinear
    from .expression_tree import ExpressionTree as ExpressionTree
    from .factor import Factor as Factor
    from .gated_mlp import GatedMlp as GatedMlp
    from .lenet import LeNet as LeNet
    from .mlp import MLP as MLP
    from .mlp_field import MlpField as MlpField
    from .odenet import OdeNet as OdeNet
    from .resnet import ResNet18 as ResNet18
    from .sde_bnn import SdeBnn as SdeBnn
    from .torchvision_models import torchvision_model as torchvision_model
    from .transformer import Transformer as Transformer
    from .wide_resnet import WideResNet as WideResNet

# What `model=` may be: "module:attribute" of this folder, and the keywords that the choice fixes
CHOICES: dict[str, tuple[str, dict[str, Any]]] = {
    "all_cnn": ("all_cnn:AllCNN", {}),
    "dense": ("dense:Dense", {}),
    "diagonal": ("diagonal:DiagonalLinear", {}),
    "expression_tree": ("expression_tree:ExpressionTree", {}),
    "factor": ("factor:Factor", {}),
    "gated_mlp": ("gated_mlp:GatedMlp", {}),
    "lenet": ("lenet:LeNet", {}),
    "mlp": ("mlp:MLP", {}),
    "mlp_field": ("mlp_field:MlpField", {}),
    "odenet": ("odenet:OdeNet", {}),
    "resnet18": ("resnet:ResNet18", {}),
    "sde_bnn": ("sde_bnn:SdeBnn", {}),
    "torchvision": ("torchvision_models:torchvision_model", {}),
    "transformer": ("transformer:Transformer", {}),
    "wrn": ("wide_resnet:WideResNet", {}),
}
_PATHS = {path.partition(":")[2]: path for path, _ in CHOICES.values()}
__all__ = list(_PATHS)


def __getattr__(name: str) -> Any:
    if name not in _PATHS:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    found = getattr(importlib.import_module(f".{_PATHS[name].partition(':')[0]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
