"""An outer step of calls without a closure, saved and resumed in its middle."""

from __future__ import annotations

import contextlib
import copy
import math
from pathlib import Path

import pytest
import torch

from deeprelax.optim import Relaxation
from tests.optimizers import OPTIMIZERS

from .problems import ALL, Batches, call, identical, network, pair, same, weights


@ALL
@pytest.mark.parametrize("taken", [1, 2])
@pytest.mark.parametrize("swapped", [False, True])
def test_saved_and_resumed_in_the_middle_of_a_step(name: str, taken: int, swapped: bool, tmp_path: Path) -> None:
    nets, (_, optimizer), (_, batches) = pair(name)
    first = optimizer.param_groups[0]["lr"]

    def on(each: Relaxation, closure: Batches) -> None:
        """A call, and a scheduler's after it."""
        call(each, closure, 1)
        each.param_groups[0]["lr"] = first / (1 + closure.calls)

    for _ in range(optimizer.evaluations + min(taken, optimizer.evaluations - 1)):
        on(optimizer, batches)
    resumed = OPTIMIZERS[name].build(nets[0].parameters())
    with optimizer.swapped_to_x() if swapped else contextlib.nullcontext():
        torch.save((nets[1].state_dict(), optimizer.state_dict()), tmp_path / "saved.pt")
    model, state = torch.load(tmp_path / "saved.pt", weights_only=True)
    nets[0].load_state_dict(model)
    resumed.load_state_dict(state)
    if resumed.under_way is None:
        resumed.begin()
    if optimizer.under_way is not None and optimizer.under_way.taken:
        rates = [[block.rate for block in each.under_way.blocks] for each in (optimizer, resumed) if each.under_way]
        assert rates[0] == rates[1] == [block.group["lr"] for block in resumed.under_way.blocks]
    later = Batches(nets[0], resumed)
    later.calls = batches.calls
    for i in range(2 * optimizer.evaluations):
        for each, closure in ((optimizer, batches), (resumed, later)):
            on(each, closure)
        assert same(weights(nets[0]), weights(nets[1])), i
    with optimizer.swapped_to_x(), resumed.swapped_to_x():
        assert identical(optimizer.state_dict(), resumed.state_dict())


def test_a_step_that_was_resumed_in_the_middle_leaves_what_the_chain_kept() -> None:
    """Not finite after the resume: all is as when the step began."""
    net, other = network(), network()
    optimizer = OPTIMIZERS["entropy_sgd_adamw"].build(net.parameters())
    batches = Batches(net, optimizer)
    call(optimizer, batches, 3)
    x, kept = weights(net), copy.deepcopy(optimizer.state_dict()["state"])
    call(optimizer, batches, 2)
    resumed = OPTIMIZERS["entropy_sgd_adamw"].build(other.parameters())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    other.load_state_dict(net.state_dict())
    later = Batches(other, resumed)
    later()
    next(other.parameters()).grad.fill_(math.nan)
    resumed.step()
    assert same(x, weights(other))
    assert identical(kept, resumed.state_dict()["state"])


def test_a_copy_holds_no_step_and_is_refused_in_the_middle_of_one() -> None:
    _, (_, optimizer), (_, batches) = pair("entropy_sgd")
    copy.deepcopy(optimizer)
    call(optimizer, batches, 1)
    with pytest.raises(ValueError, match=r"an outer step is under way, of which 1 of 3 gradients"):
        copy.deepcopy(optimizer)
