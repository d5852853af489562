"""Parameters that are no plain real tensors: this rank's shard of a DTensor, as of FSDP2, and complex ones as real.

A step works on plain tensors alone; what is asked of the whole, as a norm, is asked here. torch.distributed is not
imported: a DTensor brings it along.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def is_sharded(tensor: Tensor) -> bool:
    """Is it a DTensor?"""
    return hasattr(tensor, "to_local")


def plain(tensor: Tensor) -> Tensor:
    """The tensor's numbers on this rank as a plain real tensor that shares its memory; most are that themselves."""
    local: Tensor = tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]
    return torch.view_as_real(local) if local.is_complex() else local


def gradient(p: Tensor) -> Tensor:
    """p.grad, laid out as p."""
    grad: Any = p.grad
    if is_sharded(p) and grad.placements != p.placements:  # type: ignore[attr-defined]
        grad = grad.redistribute(p.device_mesh, p.placements)  # type: ignore[attr-defined]
    return plain(grad.resolve_conj())


def place(p: Tensor) -> tuple[int, ...]:
    """Which shard this rank holds: the mesh dimensions that share p, each with its coordinate; () for a whole tensor.

    Ranks that hold the same shard, replicas, have the same.
    """
    if not is_sharded(p):
        return ()
    dtensor: Any = p
    coordinates = dtensor.device_mesh.get_coordinate()
    places = zip(coordinates, dtensor.placements, strict=True)
    return tuple(number for i, (c, how) in enumerate(places) if how.is_shard() for number in (i, c))


def whole_norms(params: list[Tensor], norms: list[Tensor], loss: Tensor) -> tuple[list[Tensor], Tensor]:
    """Norms of all shards from those of this rank's; and the loss, NaN if that of any rank is not finite.

    Whatever has no shards is as it was. One all-reduce for each dimension of a mesh.
    """
    by_mesh: dict[Any, list[tuple[Tensor, Tensor]]] = {}
    found: list[Tensor] = []
    for p, norm in zip(params, norms, strict=True):
        if is_sharded(p):
            dtensor: Any = p
            by_mesh.setdefault((dtensor.device_mesh, dtensor.placements), []).append((p, norm))
        else:
            found.append(norm)
    for (mesh, placements), members in by_mesh.items():
        square = torch.stack([norm.double().square() for _, norm in members]).sum()
        sums = torch.stack([square, (~torch.isfinite(loss)).to(square)])
        for dimension, how in enumerate(placements):
            before = sums[0].clone()
            torch.distributed.all_reduce(sums, group=mesh.get_group(dimension))
            if not how.is_shard():  # replicas have the same norm: their sum is not wanted
                sums[0] = before
        found.append(sums[0].sqrt())
        loss = loss.masked_fill(sums[1] > 0, torch.nan)
    return found, loss


def filter_norms(p: Tensor, y: Tensor) -> Tensor:
    """Euclidean norm of each filter of p, to be broadcast over y: of each row, or of all of a 1-D tensor."""
    if not is_sharded(p) or (p.is_complex() and p.ndim == 1):  # its rows, of two real numbers, are whole
        return _norms(y)
    from torch.distributed.tensor import Replicate, Shard

    dtensor: Any = p
    rows = [Shard(0) if how.is_shard(0) and p.ndim > 1 else Replicate() for how in dtensor.placements]
    norms: Any = _norms(p)
    found = plain(norms.redistribute(dtensor.device_mesh, rows))
    return found[..., None] if p.is_complex() else found


def _norms(tensor: Tensor) -> Tensor:
    dimensions = tuple(range(1, tensor.ndim))  # of a row; none for a 1-D tensor, which is one filter
    norms: Tensor = torch.linalg.vector_norm(tensor, dim=dimensions or None, keepdim=tensor.ndim > 1)
    return norms
