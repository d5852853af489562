"""Tell errors of torch's that the user can do something about from bugs."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ..configuration.schema import HardwareConf, TrainConf
from ..errors import UserError

# torch's words where a .view meets strides that it cannot take: of the call itself, and of the compiler
VIEW = ("view size is not compatible with input tensor's size and stride", "Cannot view a tensor with shape")


@contextmanager
def explained(conf: TrainConf) -> Iterator[None]:
    """Raise UserError for what torch refuses, or has no memory for, with this configuration."""
    try:
        with views_explained(conf.hardware):
            yield
    except Exception as error:
        if (problem := compile_problem(error)) is not None:
            raise UserError(f"hardware.compile=true, but {problem}") from None
        if is_out_of_memory(error):
            reason = str(error).strip().partition("\n")[0] or "no more is there"
            raise UserError(
                f"not enough memory ({reason}): lower batch_size or dataset.image_size, or take a smaller network"
            ) from None
        raise


@contextmanager
def views_explained(hardware: HardwareConf) -> Iterator[None]:
    """Raise UserError for a .view of the user's that cannot take channels_last, if that was configured."""
    try:
        yield
    except Exception as error:
        if not hardware.channels_last or not any(words in str(error) for words in VIEW):
            raise
        raise UserError(
            f"hardware.channels_last=true, but a .view{_place(error)} cannot take that memory format: "
            "write .reshape or .flatten in its place, or set hardware.channels_last=false"
        ) from None


def _place(error: Exception) -> str:
    """ " (FILE, line N)" of the call that failed; "" where that is not in the user's file, but in torch's."""
    *_, last = traceback.extract_tb(error.__traceback__)
    inside = Path(last.filename).is_relative_to(Path(torch.__file__).parent)
    return "" if inside else f" ({last.filename}, line {last.lineno})"


def compile_problem(error: Exception) -> UserError | None:
    """A message for an error of torch's compiler; None for any other error."""
    if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return None
    reason = str(error).strip().splitlines()[0]
    return UserError(f"torch cannot compile this ({reason}): leave it out")


def is_out_of_memory(error: Exception) -> bool:
    """On a GPU torch has a class for it, on a CPU words."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
