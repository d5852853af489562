"""Two and three ranks on gloo divide six replicas, and two the two gradients of m_rwp.

They follow one process to rounding, and resume on any of these numbers.
"""

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
TWO_RANKS = pytest.mark.parametrize("ranks", [2], indirect=True)
ROUNDING = 1e-11  # of 5 steps in float64 of weights under 1


@pytest.fixture(scope="module", params=[2, 3])
def ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What each rank found."""
    folder = tmp_path_factory.mktemp("divided")
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
        assert found[method]["counts"] == alone["counts"]
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
    alone = job.Run(method).load(ranks[0][method]["state"], ranks[0][method]["counts"]).go(1).found()
    torch.testing.assert_close(alone["weights"], whole["weights"], rtol=0, atol=ROUNDING)
    assert sum(name[-1].isdigit() for name in alone["names"]) == 6


@TWO_RANKS
def test_two_ranks_that_take_a_gradient_each_of_m_rwp_follow_one_process(ranks: Found, one_thread: None) -> None:
    """Each gradient is of a whole batch, in batch norm too, with its own dropout, wherever it is taken."""
    alone = job.Run(job.TWO).go(job.STEPS).found()
    for found in (rank[job.TWO] for rank in ranks):
        torch.testing.assert_close(found["weights"], alone["weights"], rtol=0, atol=ROUNDING)
        assert torch.equal(found["weights"], ranks[0][job.TWO]["weights"])
        assert found["counts"] == alone["counts"] == (2 * job.STEPS, 2 * job.STEPS)
        assert found["names"] == alone["names"] == ["momentum_buffer"]
        assert found["all_reduces"] == [8 * (len(alone["weights"]) + 3)] * job.STEPS


@TWO_RANKS
def test_m_rwp_resumes_bit_for_bit_on_two_ranks_and_to_rounding_in_one(ranks: Found, one_thread: None) -> None:
    for found in (rank[job.TWO] for rank in ranks):
        assert torch.equal(found["whole"]["weights"], found["resumed"]["weights"])
    first = ranks[0][job.TWO]
    alone = job.Run(job.TWO).load(first["state"], first["counts"]).go(1).found()
    torch.testing.assert_close(alone["weights"], first["whole"]["weights"], rtol=0, atol=ROUNDING)


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
