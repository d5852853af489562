"""State dicts, what a failed step leaves of the state, and what torch.distributed.checkpoint asks."""

from __future__ import annotations

import copy
import functools
import math
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

from deeprelax.optim import SGD, AdamW, EntropySGD, HamiltonJacobi, Heat, Relaxation, pde_relaxed
from tests.optimizers import OPTIMIZERS

from .problems import ALL, Batches, descend, identical, network, same, weights


def foreign(net: nn.Module) -> Iterator[tuple[Relaxation, dict[str, object]]]:
    """An optimizer, and a state dict that is not its own."""
    for ours, other in [
        (SGD, torch.optim.SGD),
        (AdamW, torch.optim.AdamW),
        (EntropySGD, Heat),
        (Heat, SGD),
        (SGD, EntropySGD),
        (HamiltonJacobi, EntropySGD),
        (EntropySGD, AdamW),
        (SGD, AdamW),
        (AdamW, SGD),
        (EntropySGD, functools.partial(EntropySGD, outer="adamw")),
        (EntropySGD, functools.partial(EntropySGD, inner_state="keep")),
        (functools.partial(pde_relaxed, equation="heat"), pde_relaxed),
        (HamiltonJacobi, functools.partial(HamiltonJacobi, solver="proximal")),
    ]:
        yield ours(net.parameters()), other(net.parameters()).state_dict()
    yield SGD(net.parameters()), {"model": {}}


def test_foreign_state_dicts_are_refused_before_anything_changes() -> None:
    net = network()
    for optimizer, state_dict in foreign(net):
        optimizer.step(Batches(net, optimizer))
        before = copy.deepcopy(optimizer.state_dict())
        with pytest.raises(ValueError, match=rf"^this is no state dict of {type(optimizer).__name__}: "):
            optimizer.load_state_dict(state_dict)
        assert identical(before, optimizer.state_dict())
        optimizer.step(Batches(net, optimizer))


def test_a_state_dict_may_be_without_the_names_of_the_parameters() -> None:
    net = network()
    named = SGD(net.named_parameters())
    named.load_state_dict(SGD([{"params": net.parameters(), "name": "all"}]).state_dict())
    assert "param_names" in named.param_groups[0]


@ALL
def test_a_state_dict_survives_saving_as_the_checkpoints_are_saved(name: str, tmp_path: object) -> None:
    net = network(torch.bfloat16) if "keep" in name else network()
    optimizer = OPTIMIZERS[name].build(net.parameters())
    batches = Batches(net, optimizer)
    for _ in range(3):
        optimizer.step(batches)
    torch.save(optimizer.state_dict(), f"{tmp_path}/state.pt")
    again = OPTIMIZERS[name].build(net.parameters())
    again.load_state_dict(torch.load(f"{tmp_path}/state.pt", weights_only=True))
    assert identical(again.state_dict(), optimizer.state_dict())


def test_the_steps_of_a_chain_are_not_rounded_to_the_parameters_type() -> None:
    p = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    optimizer = EntropySGD([p], inner="adamw", inner_steps=1001)
    descend(optimizer, lambda: p.square().sum())
    again = EntropySGD([p], inner="adamw")
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert again.state[p]["inner_step"].item() == 1001  # bfloat16 has 1000 and 1004
    net = nn.Linear(2, 2).bfloat16()
    ours, fresh = (EntropySGD(net.parameters(), inner="adamw", inner_steps=1001) for _ in range(2))
    descend(ours, lambda: net(torch.ones(1, 2, dtype=torch.bfloat16)).sum())
    set_optimizer_state_dict(net, fresh, copy.deepcopy(get_optimizer_state_dict(net, ours)))  # by the names
    assert fresh.state[net.weight]["inner_step"].item() == 1001


@pytest.mark.parametrize("name", ["entropy_sgd_keep", "entropy_sgd_adamw"])
@pytest.mark.parametrize("fails", ["raises", "nan"])
def test_a_step_that_fails_leaves_what_the_chain_keeps(name: str, fails: str) -> None:
    ends = []
    for failing in (True, False):
        net = network()
        optimizer = OPTIMIZERS[name].build(net.parameters())
        batches = Batches(net, optimizer)
        for step in range(4):
            if failing and step == 2:
                before, calls = copy.deepcopy(optimizer.state_dict()["state"]), batches.calls
                fail(optimizer, batches, calls + 1, fails)
                assert identical(before, optimizer.state_dict()["state"])
                batches.calls = calls
                for group in optimizer.param_groups:  # which counts steps that were not finite
                    group["outer_steps"] = step
            optimizer.step(batches)
        ends.append(weights(net))
    assert same(*ends)


def fail(optimizer: Relaxation, batches: Callable[[], Tensor], call: int, how: str) -> None:
    """A step whose second evaluation raises, or gives a gradient that is not finite."""

    def closure() -> Tensor:
        loss = batches()
        if batches.calls - 1 == call:  # type: ignore[attr-defined]
            if how == "raises":
                raise RuntimeError("stop")
            next(p for group in optimizer.param_groups for p in group["params"]).grad.fill_(math.nan)
        return loss

    if how == "raises":
        with pytest.raises(RuntimeError, match="stop"):
            optimizer.step(closure)
    else:
        optimizer.step(closure)
        assert optimizer.nonfinite_steps()[0] == 1


def test_a_fresh_optimizer_allocates_no_velocity_that_no_step_has() -> None:
    p = nn.Parameter(torch.ones(2))
    optimizer = EntropySGD([p], momentum=0.9, inner_momentum=0.0, inner_state="keep")
    p.grad = torch.zeros(2)
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    assert set(optimizer.state[p]) == {"momentum_buffer"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_torch_checkpoint_asks_of_a_fresh_optimizer(name: str) -> None:
    """A step without a closure, every lr and gradient 0: state is there, and all else as it was."""
    net = network()
    case = OPTIMIZERS[name]
    decay = {} if case.make is AdamW else {"weight_decay": 0.1}
    optimizer = case.build(net.parameters(), **decay)
    before, lr = weights(net), optimizer.param_groups[0]["lr"]
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.param_groups[0]["lr"] = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step(closure=None)
    optimizer.param_groups[0]["lr"] = lr
    optimizer.zero_grad()
    assert same(before, weights(net))
    assert optimizer.param_groups[0]["outer_steps"] == 0
    allocated = {p: set(state) for p, state in optimizer.state.items()}
    fresh = case.build((other := network()).parameters(), **decay)
    fresh.step(Batches(other, fresh))
    stepped = [set(fresh.state[p]) for p in other.parameters()]
    assert [allocated.get(p, set()) for p in net.parameters()] == stepped
    optimizer.step(Batches(net, optimizer))
    assert same(weights(net), weights(other))
