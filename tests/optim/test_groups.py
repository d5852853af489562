"""What every optimizer keeps to with several parameters, groups and classes of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from deeprelax.optim import EntropySGD, Relaxation
from deeprelax.optim.scratch import Block
from tests.optimizers import OPTIMIZERS

from .problems import ALL, Batches, descend, network, same, weights


@ALL
def test_groups_with_their_own_rates_frozen_and_unused_parameters(name: str) -> None:
    a, b, frozen, unused = (nn.Parameter(torch.full((3,), v, dtype=torch.float64)) for v in (1.0, 2.0, 3.0, 4.0))
    frozen.requires_grad_(False)
    optimizer = OPTIMIZERS[name].build([{"params": [a, unused]}, {"params": [frozen, b], "lr": 0.0}])
    for _ in range(3):
        descend(optimizer, lambda: a.square().sum() + b.square().sum() + frozen.sum())
    assert not torch.equal(a, torch.ones_like(a))
    for p, value in [(b, 2.0), (frozen, 3.0), (unused, 4.0)]:
        assert torch.equal(p, torch.full_like(p, value))
    assert unused.grad is None
    assert set(optimizer.state) <= {a, b}


@ALL
def test_one_group_or_two_make_no_difference(name: str) -> None:
    nets = network(), network()
    params = list(nets[1].parameters())
    optimizers = (
        OPTIMIZERS[name].build(nets[0].parameters()),
        OPTIMIZERS[name].build([{"params": params[:3]}, {"params": params[3:]}]),
    )
    closures = [Batches(net, optimizer) for net, optimizer in zip(nets, optimizers, strict=True)]
    for _ in range(3):
        for optimizer, closure in zip(optimizers, closures, strict=True):
            optimizer.step(closure)
    assert same(weights(nets[0]), weights(nets[1]))


@ALL
def test_a_parameter_that_no_loss_reaches_stays_and_changes_nothing_for_the_others(name: str) -> None:
    ends = []
    for reached in (False, True):
        net, company = network(), nn.Parameter(torch.ones(3, dtype=torch.float64))
        decay = 0.0 if "sam" in name or name == "pme" else 0.1  # their norm and loss are of all weights' decay
        optimizer = OPTIMIZERS[name].build([*net.parameters(), company], weight_decay=decay)
        batches = Batches(net, optimizer)

        def closure(evaluate: Callable[[], Tensor] = batches) -> Tensor:
            loss = evaluate()
            if reached:  # noqa: B023
                company.grad = torch.zeros_like(company)  # noqa: B023
            return loss

        for _ in range(2):
            optimizer.step(closure, again=lambda: closure(batches.again))  # noqa: B023
        ends.append(weights(net))
        assert reached or torch.equal(company, torch.ones_like(company))
    assert same(*ends)


def test_a_group_added_later_shares_the_count_of_steps() -> None:
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = EntropySGD([a], scoping=0.1)
    descend(optimizer, lambda: a.sum())
    optimizer.add_param_group({"params": [b]})
    assert [group["outer_steps"] for group in optimizer.param_groups] == [1, 1]


class Mine(Relaxation):
    """A user's own: d is the mean of two gradients, written over `direction`; no key of the outer rule is given."""

    def __init__(self, params: object) -> None:
        super().__init__(params, {"lr": 0.1, "gamma": 0.5})

    @property
    def evaluations(self) -> int:
        return 2

    def direction(self, evaluate: Callable[[], None], blocks: list[Block]) -> None:
        for i in range(2):
            evaluate()
            for block in blocks:
                gradients = [0.5 * g for g in block.gradients()]
                for d, g in zip(block.d, gradients, strict=True):
                    d.copy_(g) if i == 0 else d.add_(g)


def test_a_class_that_overrides_direction_needs_no_key_of_the_outer_rule() -> None:
    p, q = (nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64)) for _ in range(2))
    optimizer, reference = Mine([p]), torch.optim.SGD([q], lr=0.1)
    for _ in range(3):
        descend(optimizer, lambda: p.pow(4).sum())
        reference.zero_grad()
        q.pow(4).sum().backward()
        reference.step()
    assert torch.equal(p, q)
    assert optimizer.scalars() == {"lr": 0.1, "gamma": 0.5}
