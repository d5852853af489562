"""`hardware.precision` of convolutions and matrix products in float32 on a GPU: as it is written, or TF32."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def single_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Within the `with` a GPU rounds factors in float32 to 10 bits where `precision` is "tf32"; else it does not.

    Both settings of torch, of which its default has TF32 in convolutions alone, and its settings are restored
    afterwards. A CPU has no TF32: there nothing changes, and "tf32" is "float32".
    """
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    _set(precision == "tf32", precision == "tf32")
    try:
        yield
    finally:
        _set(*before)


def _set(convolutions: bool, products: bool) -> None:
    with warnings.catch_warnings():
        # some releases from 2.9 on advise their newer names, which 2.8 lacks; a mixture of both is an error in all
        warnings.filterwarnings("ignore", "Please use the new API settings to control TF32", UserWarning)
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.backends.cuda.matmul.allow_tf32 = products


def in_force(device: torch.device) -> dict[str, bool]:
    """Whether convolutions and matrix products in float32 are TF32's now, for the record."""
    gpu = device.type == "cuda"
    return {
        "convolutions": gpu and torch.backends.cudnn.allow_tf32,
        "matrix_products": gpu and torch.backends.cuda.matmul.allow_tf32,
    }
