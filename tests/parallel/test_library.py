"""The optimizers under FSDP2, torch.distributed.checkpoint, ZeroRedundancyOptimizer and plain DDP, on gloo ranks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing

from deeprelax.optim.averaging import OWN_LOSS
from tests.optim.problems import same
from tests.optim.test_reference import network
from tests.optimizers import OPTIMIZERS

from . import fsdp_job, library_job

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("world", [1, 2])]


def run(job: Callable[[int, int], Any], world: int, folder: Path) -> list[Any]:
    """What each rank found."""
    torch.multiprocessing.spawn(library_job.main, (world, job, str(folder)), nprocs=world)
    return [torch.load(folder / f"{rank}.pt") for rank in range(world)]


def test_shards_equal_one_process(world: int, tmp_path: Path) -> None:
    """With noise, whose places and lengths are those of the whole: norms of filters, of all weights, their number."""
    ranks = run(fsdp_job.fsdp, world, tmp_path)
    for name in OPTIMIZERS:
        alone, norm = fsdp_job.trained(name, network(torch.float64), 0, 1)
        for found in ranks:
            weights, its_norm = found["cut"][name]
            for a, b in zip(alone, weights, strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=1e-14)
            assert its_norm == pytest.approx(norm, rel=1e-13)
    for found in ranks:
        for name, (first, second) in found["noisy"].items():
            assert same(first, second), name  # from call to call
            assert same(first, ranks[0]["noisy"][name][0]), name  # on all ranks
        assert all(step == {"unchanged": True, "bad": (1, 0)} for step in found["nan"])
        assert max(found["filters"]) < 1e-14
        assert found["inf loss"]["bad"] == (1, 0)
    draws = ranks[0]["draws"]
    # 30 numbers of 400 draws each. Under the normal law a mean beyond 4.5 standard errors, or a variance beyond 4.5
    # standard errors of its own, of any of them comes once in 2,400 runs; the draws are functions of the seed.
    assert draws.shape == (400, 30)
    assert (draws.mean(0).abs() * 400**0.5).max() < 4.5
    assert ((draws.var(0) - 1).abs() * (400 / 2) ** 0.5).max() < 4.5
    # no number is another's: shards do not share their draws
    correlation = torch.corrcoef(draws.T) - torch.eye(30, dtype=torch.float64)
    assert correlation.abs().max() * 400**0.5 < 5


def test_a_checkpoint_of_torch_resumes(world: int, tmp_path: Path) -> None:
    for found in run(fsdp_job.checkpoint, world, tmp_path):
        assert found == dict.fromkeys(OPTIMIZERS, True)


def test_zero_redundancy_is_refused(world: int, tmp_path: Path) -> None:
    for message in run(library_job.refused, world, tmp_path):
        assert message.startswith("ZeroRedundancyOptimizer gives each rank some of the parameters")
        assert "FSDP2 (torch.distributed.fsdp.fully_shard)" in message


def test_replicas_stay_equal_where_the_loss_is_agreed(world: int, tmp_path: Path) -> None:
    ranks = run(library_job.data_parallel, world, tmp_path)
    equal = {
        how: all(torch.equal(a, b) for a, b in zip(ranks[0][how], ranks[-1][how], strict=True)) for how in ranks[0]
    }
    assert equal == {"as it comes": world == 1, "agreed": True}


def test_a_step_that_goes_by_the_loss_warns_of_ranks_whose_loss_is_their_own(world: int, tmp_path: Path) -> None:
    """PME on ranks that share a batch: with the mean of the losses they stay equal, and are one process."""
    net = network(torch.float64)
    optimizer = library_job.built("pme", net, 1)
    batches = library_job.Part(net, optimizer)
    for _ in range(library_job.STEPS):
        optimizer.step(batches)
    alone, ranks = library_job.whole(net), run(library_job.by_the_loss, world, tmp_path)
    for found in ranks:
        weights, said = found["agreed"]
        assert said == []
        for a, b in zip(alone, weights, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-14)
        weights, said = found["own"]
        assert said == ([OWN_LOSS.format(world=2)] if world == 2 else [])
    assert same(ranks[0]["agreed"][0], ranks[-1]["agreed"][0])
    assert same(ranks[0]["own"][0], ranks[-1]["own"][0]) == (world == 1)
