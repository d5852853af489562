"""Networks. They know torch only.

A network is built as `Network(channels, image_size, classes, **options)` and maps images (batch, channels, size, size)
to logits (batch, classes). An optional attribute `smallest_image`, in pixels, guards against images it cannot take.
"""

from .all_cnn import AllCNN
from .lenet import LeNet
from .mlp import MLP
from .wide_resnet import WideResNet

__all__ = ["MLP", "AllCNN", "LeNet", "WideResNet"]
