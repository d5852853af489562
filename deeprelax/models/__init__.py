"""Networks. They know torch only.

A network is built as `Network(channels, image_size, classes, **options)` and maps images (batch, channels, size, size)
to logits (batch, classes). An optional attribute `smallest_image`, in pixels, guards against images it cannot take.
"""

from .lenet import LeNet
from .mlp import MLP

__all__ = ["MLP", "LeNet"]
