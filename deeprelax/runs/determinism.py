"""`deterministic=true`: kernels of a GPU that give the same bits each time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..errors import UserError


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Within the `with`, torch uses deterministic kernels only, if wanted; then its settings are as before.

    Holds for one machine and one set of versions. Raises UserError for an operation that has no such kernel.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts: torch asks for it
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    # it would fill each torch.empty with NaN, one kernel each, to show who reads what nobody wrote
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    except RuntimeError as error:
        if "CuBLAS" in str(error):
            raise UserError(
                "deterministic=true came too late for cuBLAS, which this process has used before: start a new one, "
                "or set CUBLAS_WORKSPACE_CONFIG=:4096:8 in the environment"
            ) from None
        if "deterministic" not in str(error):
            raise
        raise UserError(
            f"deterministic=true, but the network uses an operation that is not ({str(error).split('.')[0]}): "
            "change the network, or leave it out"
        ) from None
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
        torch.utils.deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]
