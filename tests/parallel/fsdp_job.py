"""The optimizers on shards of FSDP2 and under torch.distributed.checkpoint, as jobs of `test_library.py`.

`main` of `library_job.py` starts them on each rank.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor

from deeprelax.optim import SGD, Heat, Relaxation
from deeprelax.optim.scratch import Buffers
from deeprelax.optim.shards import filter_norms, plain
from tests.optim.test_reference import network
from tests.optimizers import NOISY, OPTIMIZERS

from .library_job import STEPS, Part, built, whole

DRAWS = 400


def sharded(mesh: DeviceMesh) -> nn.Module:
    net = network(torch.float64)
    for layer in net:  # type: ignore[attr-defined]
        if list(layer.parameters(recurse=False)):
            fully_shard(layer, mesh=mesh)
    fully_shard(net, mesh=mesh)
    return net


class Cut:
    """In the place of an optimizer's noise: each draw is of whole parameters, and a rank has its shards of it."""

    def __init__(self, optimizer: Relaxation) -> None:
        self.optimizer, self.draws = optimizer, 0

    def fill(self, buffers: Buffers) -> None:
        self.draws += 1
        generator = torch.Generator().manual_seed(self.draws)
        for p, number in self.optimizer.workspace.numbers.items():
            z = torch.randn(p.shape, dtype=p.dtype, generator=generator)
            if hasattr(p, "placements"):
                z = plain(distribute_tensor(z, p.device_mesh, p.placements))
            buffers.like([number])[0].copy_(z)


def trained(name: str, net: nn.Module, rank: int, world: int, cut: bool = True) -> tuple[list[Tensor], float]:
    """Weights after some steps, and the norm of the last d; with `cut` the noise is the same on shards."""
    optimizer = built(name, net, world)
    noise = Cut(optimizer)
    if cut:
        optimizer.noise = lambda i=0: noise  # type: ignore[method-assign, assignment]
    closure = Part(net, optimizer, rank, world)
    for _ in range(STEPS):
        optimizer.step(closure)
    assert not cut or (noise.draws > 0) == (name in NOISY)
    return whole(net), optimizer.direction_norm().item()


def fsdp(rank: int, world: int) -> dict[str, Any]:
    """Weights of every optimizer on shards with noise that has been cut up; and twice with their own."""
    mesh = init_device_mesh("cpu", (world,))
    return {
        "cut": {name: trained(name, sharded(mesh), rank, world) for name in OPTIMIZERS},
        "noisy": {name: [trained(name, sharded(mesh), rank, world, cut=False)[0] for _ in range(2)] for name in NOISY},
        "draws": draws(mesh),
        "nan": [step_with_nan(mesh, rank, where) for where in range(world)],
        "filters": filters(mesh),
        "inf loss": step_with_infinite_loss(mesh, rank, world),
    }


def draws(mesh: DeviceMesh) -> Tensor:
    """(draws, numbers): the steps of heat on a linear loss whose gradient is 0, by the noise of its one sample.

    f(x) = 1/2 |x|^2 at x = 0 with plain noise of standard deviation 1: d = z.
    """
    layer = nn.Linear(6, 5, bias=False).double()
    nn.init.zeros_(layer.weight)
    fully_shard(layer, mesh=mesh)
    optimizer = Heat(layer.parameters(), lr=1.0, momentum=0.0, sigma=1.0, filter_normalized=False)
    found = []
    for _ in range(DRAWS):
        before = whole(layer)[0]

        def closure() -> Tensor:
            optimizer.zero_grad()
            rows = layer(torch.eye(6, dtype=torch.float64))
            loss = 0.5 * rows.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        found.append((before - whole(layer)[0]).flatten() - before.flatten())  # d - x = z
        with torch.no_grad():
            layer.weight.zero_()
    return torch.stack(found)


def filters(mesh: DeviceMesh) -> list[float]:
    """How far the norms of filters on shards are from those of the whole, real and complex."""
    found = []
    for shape in [(5, 3), (4, 4), (3, 2, 2), (7,)]:
        for dtype in (torch.float64, torch.complex128):
            whole = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
            norms = filter_norms(whole, plain(whole))
            shards = distribute_tensor(whole, mesh, [Shard(0)])
            mine = filter_norms(shards, plain(shards))
            if mine.ndim and mine.shape[0] == len(plain(shards)):  # of rows: this rank's
                norms = plain(distribute_tensor(norms, mesh, [Shard(0)]))
            found.append((mine - norms).abs().max().item() if mine.numel() else 0.0)
    return found


def step_with_nan(mesh: DeviceMesh, rank: int, where: int) -> dict[str, Any]:
    """One rank's shard of the gradient is not finite: no rank may step."""
    net = sharded(mesh)
    optimizer = SGD(net.parameters())
    batches = Part(net, optimizer)

    def closure() -> Tensor:
        loss = batches()
        if rank == where:
            next(net.parameters()).grad.to_local().fill_(math.nan)  # type: ignore[union-attr]
        return loss

    before = whole(net)
    optimizer.step(closure)
    equal = all(torch.equal(a, b) for a, b in zip(before, whole(net), strict=True))
    return {"unchanged": equal, "bad": optimizer.nonfinite_steps()}


def step_with_infinite_loss(mesh: DeviceMesh, rank: int, world: int) -> dict[str, Any]:
    """One rank's loss alone is not finite, and its gradient is."""
    net = sharded(mesh)
    optimizer = SGD(net.parameters())
    batches = Part(net, optimizer)
    optimizer.step(lambda: batches() * (math.inf if rank == world - 1 else 1.0))
    return {"bad": optimizer.nonfinite_steps()}


def checkpoint(rank: int, world: int) -> dict[str, Any]:
    """Trained on shards, its state taken and given to a fresh optimizer: both go on alike."""
    mesh, found = init_device_mesh("cpu", (world,)), {}
    for name in OPTIMIZERS:
        net = sharded(mesh)
        optimizer = built(name, net, world)
        closure = Part(net, optimizer, rank, world)
        for _ in range(STEPS):
            optimizer.step(closure)
        state = copy.deepcopy(get_optimizer_state_dict(net, optimizer))  # else both would have the same tensors
        weights = net.state_dict()
        other = sharded(mesh)
        other.load_state_dict({key: value.detach().clone() for key, value in weights.items()})
        fresh = built(name, other, world)
        before = whole(other)
        untouched = get_optimizer_state_dict(other, fresh)
        assert all(torch.equal(a, b) for a, b in zip(before, whole(other), strict=True)), name
        assert untouched["param_groups"][0]["outer_steps"] == 0, name
        set_optimizer_state_dict(other, fresh, state)
        later = Part(other, fresh, rank, world)
        later.calls = closure.calls
        for _ in range(STEPS):
            optimizer.step(closure)
            fresh.step(later)
        found[name] = all(torch.equal(a, b) for a, b in zip(whole(net), whole(other), strict=True))
    return found
