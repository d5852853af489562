"""Physics-informed networks: terms, conditions and points."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeprelax.models import GatedMlp, MlpField
from deeprelax.tasks import Setting
from deeprelax.tasks.equations import CATALOG
from deeprelax.tasks.pinn import Pinn
from tests.tasks.problems import CPU, scored


def pinn(name: str, batch_size: int = 40, seed: int = 0, share: dict[str, Any] | None = None, **options: Any) -> Pinn:
    setting = Setting(CPU, seed, batch_size, dtype=torch.float64, **(share or {}))
    return Pinn(setting, equation=name, **options)


class Exact(nn.Module):
    """The network that is the solution."""

    def __init__(self, task: Pinn) -> None:
        super().__init__()
        self.task = task

    def forward(self, x: Tensor) -> Tensor:
        low, high = self.task.domain.low, self.task.domain.high
        return self.task.equation.exact(low + (high - low) * (x + 1) / 2)


def network(task: Pinn, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MlpField(**task.shape, hidden=10).double()


@pytest.mark.parametrize("name", CATALOG)
def test_the_solution_has_no_loss_and_no_error(name: str) -> None:
    task = pinn(name)
    batch = task.make(*task.draw(3))
    terms = task.terms(Exact(task), *batch)
    assert all(term.item() < 1e-18 for term in terms.values()), terms
    (chunk,) = [task.splits()["test"].take(2)]
    sums = task.sums(Exact(task), *chunk)
    assert float(sums[0] / sums[1]) < 1e-20


def test_the_loss_is_the_weighted_sum_of_its_terms_by_hand() -> None:
    """u = t x for u_t = a u_xx: r = x, at the first moment -sin(pi x), at the walls 0 and t."""

    class Product(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            t, x = ((x + 1) / 2).unbind(1)
            return (t * x)[:, None]

    task = pinn("heat", initial_weight=3.0, boundary_weight=5.0)
    interior, initial, walls = task.make(*task.draw(0))
    loss = task.loss(Product(), interior, initial, walls)
    by_hand = interior[:, 1].square().mean() + 3 * (torch.pi * initial[:, 1]).sin().square().mean()
    by_hand += 5 * walls[:, 0, 1, 0].square().mean()
    assert loss.item() == pytest.approx(float(by_hand), rel=1e-12)


def test_points_lie_in_the_domain_and_on_its_faces() -> None:
    task = pinn("oscillator_2d")
    interior, initial, walls = task.make(*task.draw(0))
    assert interior.shape == (40, 3)
    assert bool(((interior >= task.domain.low) & (interior <= task.domain.high)).all())
    assert initial[:, 0].tolist() == [0.0] * 40
    assert walls.shape == (40, 2, 2, 3)
    for axis in (1, 2):
        ends = walls[:, axis - 1, :, axis]
        assert ends.tolist() == [[-5.0, 5.0]] * 40


def test_batches_are_functions_of_seed_and_number_and_evenly_spread() -> None:
    task, same, other = pinn("heat"), pinn("heat"), pinn("heat", seed=1)
    first = [t.clone() for t in task.draw(5)]
    task.draw(6)
    assert all(torch.equal(a, b) for a, b in zip(first, same.draw(5), strict=True))
    assert not torch.equal(first[0], task.draw(6)[0])
    assert not torch.equal(first[0], other.draw(5)[0])
    means = torch.stack([pinn("heat", 100).draw(k)[0].mean(0) for k in range(20)])
    assert float((means - 0.5).abs().max()) < 0.02  # of 100 independent points 0.03 is one standard deviation


@pytest.mark.parametrize("adaptive", [0.0, 0.5])
def test_the_loss_of_a_batch_is_the_mean_of_its_parts(adaptive: float) -> None:
    whole = pinn("burgers", adaptive=adaptive)
    model = network(whole)
    whole.prepare(model)
    parts = [pinn("burgers", share={"part": (i, 2)}, adaptive=adaptive) for i in range(2)]
    losses = [task.loss(model, *task.make(*task.draw(4))).item() for task in (whole, *parts)]
    assert losses[0] == pytest.approx(sum(losses[1:]) / 2, rel=1e-12)


@pytest.mark.parametrize("name", [name for name, kind in CATALOG.items() if kind.boundary != "exact"])
def test_hard_conditions_hold_whatever_the_network(name: str) -> None:
    task = pinn(name, conditions="hard")
    model = network(task)
    _, initial, walls = task.make(*task.draw(0))
    found = task._initial(model, initial)
    assert found.abs().max().item() < 1e-12
    assert task._walls(model, walls).abs().max().item() < 1e-12
    terms = task.terms(model, *task.make(*task.draw(0)))
    assert terms["initial"].item() == terms["boundary"].item() == 0 < terms["residual"].item()


def test_forward_mode_is_the_same_loss_and_gradient() -> None:
    found = []
    for mode in ("reverse", "forward"):
        task = pinn("wave", differentiation=mode)
        model = network(task)
        task.loss(model, *task.make(*task.draw(0))).backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


def test_kept_points_follow_the_residual_and_are_functions_of_seed_and_number() -> None:
    class Rough(nn.Module):
        """u_t = u_xx is violated for x > 1/2 alone."""

        def forward(self, x: Tensor) -> Tensor:
            return 40 * torch.relu(x[:, 1:]).pow(3)

    sets = []
    for first in (0, 60):  # a run from its start, and one that resumes
        task, model = pinn("heat", batch_size=20, points=100, adaptive=0.5, adapt_every=2.0), Rough()
        task.prepare(model)
        start = model.get_buffer("collocation").clone()
        for k in range(first, 70):
            task.draw(k)
            task.advance(model, k + 1)
        sets.append(model.get_buffer("collocation"))
        assert not torch.equal(start, sets[-1])
    assert torch.equal(*sets)
    assert float((sets[0][:, 1] > 0.5).double().mean()) > 0.65  # 3/4 is expected; 1/2 for uniform points, of 200


def test_points_stay_where_a_residual_is_not_finite() -> None:
    task = pinn("heat", batch_size=20, points=20, adaptive=0.5, adapt_every=1.0)
    model = network(task)
    task.prepare(model)
    before = model.get_buffer("collocation").clone()
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(torch.inf)
    task.draw(0)
    task.advance(model, 5)
    assert torch.equal(model.get_buffer("collocation"), before)


def test_scores_are_those_of_all_points() -> None:
    task = pinn("heat")
    model = network(task)
    found = scored(task, model)
    with torch.no_grad():
        u = task.u(model, task.grid)
    assert found["relative_l2"] == pytest.approx(float((u - task.exact).norm() / task.exact.norm()), rel=1e-9)
    assert found["loss"] == pytest.approx(found["residual"] + 10 * found["initial"] + 10 * found["boundary"])


def test_equal_experts_are_one_expert_and_shares_add_up() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GatedMlp(2, 2, experts=3, hidden=5).double()
    x = torch.rand(7, 2, dtype=torch.float64)
    assert torch.allclose(model.shares(x).sum(1), torch.ones(7, dtype=torch.float64))
    with torch.no_grad():
        for tensor in (*model.weights, *model.biases):
            tensor[1:] = tensor[0]
    torch.testing.assert_close(model(x), model.answers(x)[0], rtol=1e-12, atol=1e-14)
