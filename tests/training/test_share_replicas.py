"""Ranks that divide the replicas of an optimizer: which evaluations are whose, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeprelax.errors import UserError
from deeprelax.optim import SGD
from deeprelax.optim.replicas import Replicated
from deeprelax.optim.scratch import Block
from deeprelax.training.share import Share


class Own(Replicated):
    """A method of the user's: SGD for each replica, with two gradients a step."""

    gradients_each = 2

    def __init__(self, params: Any, lr: float = 0.1, replicas: int = 6, momentum: float = 0.5) -> None:
        super().__init__(params, {"lr": lr, "replicas": replicas, "momentum": momentum})

    def after_one(self, i: int, blocks: list[Block]) -> None:
        for block in blocks:
            block.take_gradients()


class Among:
    """A rank among others, without them."""

    def __init__(self, rank: int, world: int) -> None:
        self.rank, self.world = rank, world

    def sum_(self, tensor: Tensor) -> None: ...


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(3))]


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_each_evaluation_of_a_step_is_taken_by_one_rank(world: int) -> None:
    taken: list[int] = []
    for rank in range(world):
        optimizer, share = Own(parameters()), Share(Among(rank, world), "evaluations")
        share.average(optimizer, torch.zeros(()), nn.Module())
        before, after = share.turn(optimizer)
        taken += range(before, before + optimizer.evaluations_here)
        assert before + optimizer.evaluations_here + after == optimizer.evaluations == 12
        assert share.seeds == 0
        assert share.of_batches == ({} if world > 1 else {"part": (0, 1)})
    assert taken == list(range(12))


def test_what_ranks_cannot_divide_is_refused_in_a_sentence() -> None:
    stop = torch.zeros(())
    with pytest.raises(UserError, match=r"^optimizer\.replicas=6 cannot be divided equally among 4 ranks: set "):
        Share(Among(0, 4), "evaluations").average(Own(parameters()), stop, nn.Module())
    for by, optimizer in (("chains", Own(parameters())), ("evaluations", SGD(parameters()))):
        with pytest.raises(UserError, match=rf"^hardware\.share={by} does not go with (Own|SGD): leave it out$"):
            Share(Among(0, 2), by).average(optimizer, stop, nn.Module())


def test_a_rank_keeps_its_replicas_of_a_checkpoint_of_all() -> None:
    whole = Own(parameters())
    for _ in range(2):
        whole.step(lambda: _loss(whole))
    mine, share = Own(parameters()), Share(Among(2, 3), "evaluations")
    share.average(mine, torch.zeros(()), nn.Module())
    mine.load_state_dict(whole.state_dict())
    share.restore_chain(mine, [])
    (kept,) = mine.state.values()
    assert set(kept) == {"momentum_buffer"} | {f"replica_{a}{b}" for a in (4, 5) for b in ("", "_momentum_buffer")}


def _loss(optimizer: Own) -> Tensor:
    (p,) = optimizer.param_groups[0]["params"]
    optimizer.zero_grad()
    loss = p.square().sum()
    loss.backward()
    return loss
