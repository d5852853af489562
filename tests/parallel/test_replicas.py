"""Two and three ranks on gloo divide six replicas: they follow one process to rounding, and resume on any of these."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from deeprelax.parallel import launch

from . import replicas_job as job

Command = Callable[..., tuple[int, str, str]]
Found = list[dict[str, Any]]  # of each rank
METHODS = pytest.mark.parametrize("method", job.METHODS)
ROUNDING = 1e-11  # of 5 steps in float64 of weights under 1


@pytest.fixture(scope="module", params=[2, 3])
def ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What each rank found."""
    folder = tmp_path_factory.mktemp("replicas")
    launch.launch([sys.executable, "-W", "ignore", str(Path(job.__file__)), str(folder)], request.param)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(request.param)]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As the ranks have: the number changes rounding."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@METHODS
def test_ranks_that_divide_replicas_follow_one_process(method: str, ranks: Found, one_thread: None) -> None:
    alone = job.Run(method).go(job.STEPS).found()
    each = 6 // len(ranks)
    for rank, found in enumerate(ranks):
        torch.testing.assert_close(found[method]["weights"], alone["weights"], rtol=0, atol=ROUNDING)
        assert torch.equal(found[method]["weights"], ranks[0][method]["weights"])
        assert found[method]["evaluations"] == alone["evaluations"]
        mine = {f"replica_{a}" for a in range(rank * each, (rank + 1) * each)}
        assert {name for name in found[method]["names"] if name[-1].isdigit()} == mine


@METHODS
def test_they_resume_bit_for_bit_on_as_many_ranks_and_to_rounding_in_one(
    method: str, ranks: Found, one_thread: None
) -> None:
    for found in ranks:
        assert torch.equal(found[method]["whole"]["weights"], found[method]["resumed"]["weights"])
        assert found[method]["whole"]["names"] == found[method]["resumed"]["names"] == found[method]["names"]
    whole = ranks[0][method]["whole"]
    alone = job.Run(method).load(ranks[0][method]["state"], ranks[0][method]["evaluations"]).go(1).found()
    torch.testing.assert_close(alone["weights"], whole["weights"], rtol=0, atol=ROUNDING)
    assert sum(name[-1].isdigit() for name in alone["names"]) == 6


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.replicas=3"], "optimizer.replicas=3 cannot be divided equally among 2 ranks: set hardware.devices "
         "to 1 or 3, or optimizer.replicas to a multiple of 2"),
        (["optimizer.replicas=4", "hardware.share=chains"], "hardware.share=chains: ranks divide the replicas of "
         "optimizer=parle; leave hardware.share out"),
    ],
)  # fmt: skip
def test_what_ranks_cannot_divide_is_said_in_a_sentence(overrides: list[str], message: str, deeprelax: Command) -> None:
    status, out, err = deeprelax("train", "optimizer=parle", "hardware.devices=2", *overrides)
    assert (status, out, err) == (1, "", f"deeprelax: {message}\n")
