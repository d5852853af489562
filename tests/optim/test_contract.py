"""What every optimizer promises, whatever its direction: counts, limits, state, errors."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import tests.optimizers
from deeprelax.optim import CHOICES, SGD, EntropySGD, HamiltonJacobi, Heat, Relaxation, pde_relaxed
from deeprelax.optim.hyperparameters import RANGES, scoped_gamma
from deeprelax.optim.scratch import Block
from deeprelax.randomness import Purpose, derive_seed
from tests.optimizers import NOISY, OPTIMIZERS

from .problems import descend

ALL = pytest.mark.parametrize("name", OPTIMIZERS)


def network(dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))
    return net.to(dtype)


class Batches:
    """A closure on the next of a sequence of seeded batches."""

    def __init__(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.net, self.optimizer, self.calls = net, optimizer, 0
        self.dtype = next(net.parameters()).dtype

    def __call__(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.calls)
        self.calls += 1
        x = torch.randn(8, 1, 6, 6, generator=generator).to(self.dtype)
        y = torch.randint(4, (8,), generator=generator)
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.net(x), y)
        loss.backward()
        return loss


def weights(net: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in net.parameters()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


@ALL
def test_calls_the_closure_exactly_inner_steps_times_and_returns_the_mean_loss(name: str) -> None:
    net = network()
    optimizer = OPTIMIZERS[name].build(net.parameters())
    batches, losses = Batches(net, optimizer), []

    def closure() -> Tensor:
        losses.append(batches())
        return losses[-1]

    loss = optimizer.step(closure)
    assert len(losses) == optimizer.evaluations
    assert loss.shape == ()
    assert not loss.requires_grad
    torch.testing.assert_close(loss, torch.stack(losses).mean().detach())


@ALL
def test_a_closure_that_raises_leaves_x(name: str) -> None:
    net = network()
    optimizer = OPTIMIZERS[name].build(net.parameters())
    batches = Batches(net, optimizer)
    optimizer.step(batches)
    before, state = weights(net), copy.deepcopy(optimizer.state_dict())
    for failing in range(optimizer.evaluations):
        first = batches.calls

        def closure(first: int = first, failing: int = failing) -> Tensor:
            if batches.calls - first == failing:
                raise RuntimeError("no more data")
            return batches()

        with pytest.raises(RuntimeError, match="no more data"):
            optimizer.step(closure)
        assert same(before, weights(net))
        assert str(state) == str(optimizer.state_dict())


@ALL
def test_a_resumed_optimizer_equals_one_that_never_stopped(name: str) -> None:
    net, other = network(), network(seed=1)
    optimizer = OPTIMIZERS[name].build(net.parameters())
    batches = Batches(net, optimizer)
    for _ in range(4):
        optimizer.step(batches)
    resumed = OPTIMIZERS[name].build(other.parameters())
    other.load_state_dict(net.state_dict())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    later = Batches(other, resumed)
    later.calls = batches.calls
    for _ in range(4):
        optimizer.step(batches)
        resumed.step(later)
    assert same(weights(net), weights(other))


@ALL
def test_the_lr_of_a_scheduler_is_the_lr_used(name: str) -> None:
    net = network()
    optimizer = OPTIMIZERS[name].build(net.parameters(), momentum=0.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    batches = Batches(net, optimizer)
    for _ in range(3):
        before, lr = weights(net), optimizer.param_groups[0]["lr"]
        optimizer.step(batches)
        moved = math.sqrt(sum((a - b).square().sum().item() for a, b in zip(before, weights(net), strict=True)))
        assert moved == pytest.approx(lr * optimizer.direction_norm().item(), rel=1e-12)
        assert optimizer.scalars()["lr"] == lr
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.125 * scheduler.base_lrs[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("make", [SGD, HamiltonJacobi, Heat])
def test_limits_equal_torch_sgd_bit_for_bit(
    make: Callable[..., Relaxation], momentum: float, nesterov: bool, dtype: torch.dtype
) -> None:
    limit = {SGD: {}, HamiltonJacobi: {"inner_steps": 1}, Heat: {"sigma": 0.0, "samples": 1}}[make]
    nets = network(dtype), network(dtype)
    rule = {"lr": 0.05, "momentum": momentum, "nesterov": nesterov and momentum > 0, "weight_decay": 1e-2}
    ours, reference = make(nets[0].parameters(), **rule, **limit), torch.optim.SGD(nets[1].parameters(), **rule)
    closures = Batches(nets[0], ours), Batches(nets[1], reference)
    for _ in range(20):
        ours.step(closures[0])
        reference.step(closures[1])
    assert same(weights(nets[0]), weights(nets[1]))


def test_entropy_sgd_of_one_step_is_sgd_to_rounding() -> None:
    nets = network(), network()
    ours = EntropySGD(
        nets[0].parameters(), lr=1.0, gamma=math.inf, inner_steps=1, inner_lr=0.05, averaging=0.0,
        inner_momentum=0.0, temperature=0.0, weight_decay=1e-2,
    )  # fmt: skip
    reference = torch.optim.SGD(nets[1].parameters(), lr=0.05, weight_decay=1e-2)
    closures = Batches(nets[0], ours), Batches(nets[1], reference)
    for _ in range(20):
        ours.step(closures[0])
        reference.step(closures[1])
    for a, b in zip(weights(nets[0]), weights(nets[1]), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


def test_proximal_hj_is_the_chain_of_entropy_sgd_at_temperature_and_averaging_zero() -> None:
    nets = network(torch.float32), network(torch.float32)
    common = {"lr": 0.5, "gamma": 2.0, "momentum": 0.5, "scoping": 0.1, "weight_decay": 1e-2}
    proximal = HamiltonJacobi(nets[0].parameters(), solver="proximal", averaging=0.5, **common)
    chain = EntropySGD(nets[1].parameters(), temperature=0.0, averaging=0.0, **common)
    closures = Batches(nets[0], proximal), Batches(nets[1], chain)
    for _ in range(5):
        proximal.step(closures[0])
        chain.step(closures[1])
        assert same(weights(nets[0]), weights(nets[1]))
    assert proximal.evaluations == chain.evaluations == 20
    assert proximal.memory() == chain.memory()


def test_a_chain_without_averaging_is_the_average_that_forgets_at_once_without_its_memory() -> None:
    """mu <- lerp(mu, y, 1) is y bit for bit."""
    mu, y = (torch.randn(1000, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert torch.equal(torch.lerp(mu * 1e6, y, 1.0), y)
    sizes = []
    for averaging in (0.0, 0.75):
        p = nn.Parameter(torch.ones(1000))
        optimizer = EntropySGD([p], averaging=averaging)
        descend(optimizer, lambda p=p: p.square().sum())
        sizes.append(optimizer.memory() // p.nbytes)
    assert sizes[1] - sizes[0] == 1


@pytest.mark.parametrize("solver", [None, "fixed_point", "proximal"])
def test_scoping_shrinks_gamma_and_the_smaller_gamma_is_used(solver: str | None) -> None:
    def make(p: nn.Parameter, **keywords: float) -> Relaxation:
        common = {"lr": 0.0, "momentum": 0.0, "inner_steps": 4, **keywords}
        return (
            EntropySGD([p], temperature=0.0, **common)
            if solver is None
            else HamiltonJacobi([p], solver=solver, **common)
        )

    p = nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))
    scoped = make(p, gamma=0.6, scoping=0.25)
    for k in range(4):
        assert scoped_gamma(scoped.param_groups[0]) == pytest.approx(0.6 / 1.25**k)
        assert scoped.scalars()["gamma"] == scoped_gamma(scoped.param_groups[0])
        fixed = make(p, gamma=0.6 / 1.25**k)
        for optimizer in (scoped, fixed):
            descend(optimizer, lambda: p.pow(4).sum())
        assert scoped.direction_norm().item() == pytest.approx(fixed.direction_norm().item(), rel=1e-13)


@pytest.mark.parametrize("solver", [None, "fixed_point", "proximal"])
def test_scoping_may_go_on_for_ever(solver: str | None) -> None:
    p = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = EntropySGD([p]) if solver is None else HamiltonJacobi([p], solver=solver)
    optimizer.param_groups[0].update(scoping=1.0, outer_steps=5000)
    assert optimizer.scalars()["gamma"] == 0.0
    descend(optimizer, lambda: p.square().sum())
    assert torch.isfinite(p).all()


@ALL
def test_hyper_parameters_changed_by_hand_act_at_once(name: str) -> None:
    p = nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))
    optimizer = OPTIMIZERS[name].build([p], lr=0.01)
    key = optimizer.evaluations_key
    calls = [0]

    def loss() -> Tensor:
        calls[0] += 1
        return p.square().sum()

    if key is not None:
        optimizer.param_groups[0][key] = 7
        descend(optimizer, loss)
        assert calls[0] == 7
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.param_groups[0]["momentum"] = 0.0
    before = p.detach().clone()
    descend(optimizer, loss)
    assert torch.equal(p, before)


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
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_non_finite_step_changes_nothing_and_is_counted(name: str, where: str) -> None:
    net = network()
    optimizer = OPTIMIZERS[name].build(net.parameters())
    batches = Batches(net, optimizer)
    optimizer.step(batches)
    before = weights(net)
    velocity = [s["momentum_buffer"].clone() for s in optimizer.state.values()]
    assert optimizer.nonfinite_steps() == (0, 0)

    def closure() -> Tensor:
        loss = batches()
        if where == "gradient":
            next(net.parameters()).grad.view(-1)[0] = math.inf
        return loss if where == "gradient" else loss * math.nan

    loss = optimizer.step(closure)
    assert where == "gradient" or torch.isnan(loss)
    assert same(before, weights(net))
    assert same(velocity, [s["momentum_buffer"] for s in optimizer.state.values()])
    assert optimizer.param_groups[0]["outer_steps"] == 2
    optimizer.step(closure)
    assert optimizer.nonfinite_steps() == (2, 1)
    assert optimizer.nonfinite_steps() == (0, 0)
    optimizer.step(batches)
    assert not same(before, weights(net))


@pytest.mark.parametrize("name", NOISY)
def test_noise_is_a_function_of_seed_step_and_chain_alone(name: str) -> None:
    def run(chain: int = 0, disturb: bool = False, **keywords: object) -> Tensor:
        p = nn.Parameter(torch.ones(40, dtype=torch.float64))
        optimizer = OPTIMIZERS[name].build([p], **keywords)
        optimizer.chain = chain
        for _ in range(2):
            if disturb:
                torch.randn(3)
            descend(optimizer, lambda: p.square().sum())
        assert "chain" not in str(optimizer.state_dict())
        return p.detach()

    base = run(seed=3)
    assert torch.equal(base, run(seed=3, disturb=True))
    assert not torch.equal(base, run(seed=4))
    assert not torch.equal(base, run(seed=3, chain=1))


def test_noise_is_apart_from_what_training_draws() -> None:
    """Neither dropout nor the order of the images nor the initial weights repeat the optimizer's numbers."""
    p = nn.Parameter(torch.zeros(50))
    optimizer = EntropySGD([p])
    optimizer.noise().fill(optimizer.buffers("z"))
    (ours,) = optimizer.scratch("z", [p])
    for purpose in Purpose:
        for counters in ((), (0,), (0, 0)):
            generator = torch.Generator().manual_seed(derive_seed(0, purpose, *counters))
            assert not torch.equal(ours, torch.randn(50, generator=generator))


def test_noise_differs_between_steps_and_between_inner_steps() -> None:
    p = nn.Parameter(torch.zeros(1000, dtype=torch.float64))
    optimizer = EntropySGD(
        [p], lr=1.0, gamma=math.inf, inner_steps=2, inner_lr=0.5, temperature=1.0, averaging=0.0, inner_momentum=0.0
    )
    moves = []
    for _ in range(2):
        with torch.no_grad():
            p.zero_()
        descend(optimizer, lambda: 0.0 * p.sum())
        moves.append(p.detach().clone())
    assert abs(torch.corrcoef(torch.stack(moves))[0, 1]) < 5 / math.sqrt(1000)
    # two independent draws of variance 2 h T = 1 add up to 2; the same draw twice would give 4
    assert abs(moves[0].var().item() / 2 - 1) < 5 * math.sqrt(2 / 1000)


def test_no_random_numbers_are_drawn_at_temperature_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deeprelax.optim.relaxation.Noise", None)
    for make, keywords in [(EntropySGD, {"temperature": 0.0}), (Heat, {"sigma": 0.0}), (HamiltonJacobi, {})]:
        p = nn.Parameter(torch.ones(2))
        descend(make([p], **keywords), lambda p=p: p.square().sum())


def test_a_directions_mean_over_ranks_is_what_is_descended() -> None:
    p = nn.Parameter(torch.ones(4, dtype=torch.float64))
    optimizer = SGD([p], lr=1.0, momentum=0.0)
    seen: list[int] = []

    def halve(tensors: list[Tensor]) -> None:
        seen.append(len(tensors))
        torch._foreach_mul_(tensors, 0.5)

    optimizer.reduce_direction = halve
    loss = descend(optimizer, lambda: p.square().sum())
    assert torch.equal(p, torch.zeros_like(p))
    assert loss.item() == 2.0
    assert seen == [2]


@ALL
def test_a_parameter_that_no_loss_reaches_stays_and_changes_nothing_for_the_others(name: str) -> None:
    ends = []
    for reached in (False, True):
        net, company = network(), nn.Parameter(torch.ones(3, dtype=torch.float64))
        optimizer = OPTIMIZERS[name].build([*net.parameters(), company], weight_decay=0.1)
        batches = Batches(net, optimizer)

        def closure() -> Tensor:
            loss = batches()  # noqa: B023
            if reached:  # noqa: B023
                company.grad = torch.zeros_like(company)  # noqa: B023
            return loss

        for _ in range(2):
            optimizer.step(closure)
        ends.append(weights(net))
        assert reached or torch.equal(company, torch.ones_like(company))
    assert same(*ends)


@ALL
def test_scratch_is_reused_and_is_not_state(name: str) -> None:
    net = network()
    optimizer = OPTIMIZERS[name].build(net.parameters())
    batches = Batches(net, optimizer)
    optimizer.step(batches)
    buffers = {id(t) for kind in optimizer._scratch.values() for t in kind.flats}
    held = optimizer.memory()
    optimizer.step(batches)
    assert {id(t) for kind in optimizer._scratch.values() for t in kind.flats} == buffers
    assert optimizer.memory() == held
    assert all(set(state) <= {"momentum_buffer"} for state in optimizer.state.values())


@ALL
def test_a_missing_closure_shows_how_to_write_one(name: str) -> None:
    with pytest.raises(ValueError, match=r"(?s)needs a closure that evaluates the NEXT mini-batch.*loss\.backward\(\)"):
        OPTIMIZERS[name].build(network().parameters()).step()


def test_a_closure_without_a_loss_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match="must return the loss as a tensor of one element, not None"):
        SGD(network().parameters()).step(lambda: None)


OUT_OF_RANGE = {
    "lr": [-0.1, math.nan, math.inf, "fast"],
    "gamma": [0.0, -1.0, math.nan],
    "pde_relaxed.gamma": [0.0, math.inf],
    "inner_steps": [0, 2.5],
    "inner_lr": [0.0, math.inf],
    "temperature": [-1e-9, math.inf],
    "averaging": [-0.1, 1.0],
    "momentum": [-0.1, 1.0],
    "nesterov": ["yes", None],
    "inner_momentum": [1.0],
    "weight_decay": [-1.0],
    "scoping": [-0.1],
    "sigma": [-1.0],
    "samples": [0, True],
    "filter_normalized": [0.5],
    "seed": [-1, 0.5],
    "solver": ["newton"],
    "equation": ["wave"],
}


def test_every_choice_of_the_command_line_stands_in_the_table() -> None:
    assert list(tests.optimizers.CHOICES) == list(CHOICES)
    for name, (path, fixed) in CHOICES.items():
        case = OPTIMIZERS[name]
        assert path.endswith(f":{case.make.__name__}")
        assert fixed.items() <= case.keywords.items()


def test_every_range_is_tested() -> None:
    assert set(OUT_OF_RANGE) == set(RANGES)


@pytest.mark.parametrize("make", {case.make for case in OPTIMIZERS.values()})
def test_values_out_of_range_are_refused_by_name(make: Callable[..., Relaxation]) -> None:
    p = nn.Parameter(torch.ones(1))
    for keyword in set(inspect.signature(make).parameters) & set(RANGES):
        for value in [*OUT_OF_RANGE[keyword], *OUT_OF_RANGE.get(f"{make.__name__}.{keyword}", [])]:
            with pytest.raises(ValueError, match=rf"^{keyword} must be "):
                make([p], **{keyword: value})
            if make is not pde_relaxed:
                with pytest.raises(ValueError, match=rf"^{keyword} must be "):
                    make([{"params": [p], keyword: value}])


def test_what_belongs_to_the_whole_step_must_not_differ_between_groups() -> None:
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = EntropySGD([{"params": [a], "inner_steps": 2}, {"params": [b], "inner_steps": 3}])
    with pytest.raises(ValueError, match=r"inner_steps must be the same in all parameter groups, not \[2, 3\]"):
        descend(optimizer, lambda: (a * b).sum())


def test_a_group_added_later_shares_the_count_of_steps() -> None:
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = EntropySGD([a], scoping=0.1)
    descend(optimizer, lambda: a.sum())
    optimizer.add_param_group({"params": [b]})
    assert [group["outer_steps"] for group in optimizer.param_groups] == [1, 1]


@ALL
def test_a_copied_optimizer_works(name: str) -> None:
    net = network()
    optimizer = OPTIMIZERS[name].build(net.parameters())
    optimizer.step(Batches(net, optimizer))
    twin_net, twin = copy.deepcopy((net, optimizer))
    for n, o in [(net, optimizer), (twin_net, twin)]:
        o.step(Batches(n, o))
    assert same(weights(net), weights(twin_net))


PUBLIC = {
    SGD: "lr momentum nesterov weight_decay",
    EntropySGD: "lr gamma inner_steps inner_lr temperature averaging momentum nesterov inner_momentum weight_decay "
    "scoping seed",
    HamiltonJacobi: "lr gamma inner_steps solver inner_lr inner_momentum averaging momentum nesterov weight_decay "
    "scoping",
    Heat: "lr sigma samples filter_normalized momentum nesterov weight_decay seed",
    pde_relaxed: "equation gamma temperature inner_steps lr momentum nesterov weight_decay seed",
}


@pytest.mark.parametrize("make", PUBLIC)
def test_the_public_keywords(make: Callable[..., Relaxation]) -> None:
    keywords = [name for name in inspect.signature(make).parameters if name not in ("self", "params")]
    assert keywords == PUBLIC[make].split()
    assert all(f"{name}" in (make.__doc__ or "") for name in keywords)


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
