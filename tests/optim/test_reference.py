"""Every optimizer of the table against its plain form, over several outer steps on a network."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeprelax.optim import AdamW
from tests.optimizers import OPTIMIZERS, Case

from . import reference
from .reference_optimizer import Reference
from .reference_replicas import WITH_REPLICAS

STEPS, CHAIN = 4, 2
# Where the forms differ they do so, for each gradient, by two roundings at the size of the weights, which are under 1:
# one epsilon if both have one sign. The outer rule hands an error of d on to x with a gain of lr (1 + m + ... + m^4)
# over these steps, at most 2.9 (lr 0.7, m 0.9). Measured: 1.2 epsilons after all steps, where this allows 24 to 60.
EPSILONS_FOR_EACH_GRADIENT = 3.0
# of every row of the table, by the first words of its name; a new one should have its rule here, or there by its name
OTHERS = {"adamw": reference.sgd, "hj": reference.hj_fixed_point}


def rule_of(name: str) -> reference.Rule | None:
    """The plain form of a row, of which a variant's name begins with that of the choice."""
    words = name.split("_")
    names = ["_".join(words[:n]) for n in range(len(words), 0, -1)]
    return next(
        (OTHERS.get(each) or getattr(reference, each) for each in names if each in OTHERS or _is_rule(each)), None
    )


def _is_rule(name: str) -> bool:
    return inspect.isgeneratorfunction(getattr(reference, name, None))


RULES = {name: rule for name in OPTIMIZERS if (rule := rule_of(name)) is not None} | WITH_REPLICAS
# where the two forms round differently; all others take the same operations in the same order
ROUNDED = {
    "entropy_sgd": "a mu + (1 - a) y is computed as lerp(mu, y, 1 - a), gamma_k as gamma (1 + scoping)^-k",
    "hj": "a p + (1 - a) g is computed as lerp(p, g, 1 - a), gamma_k as gamma (1 + scoping)^-k",
    "pde_relaxed_hj": "a p + (1 - a) g is computed as lerp(p, g, 1 - a)",
    "heat": "sigma |filter| z is one addcmul, and the norm is summed in another order",
    "pme": "the norm is summed in another order, and factors are multiplied in another",
    "m_rwp": "as heat",
    "schedule_free": "z - x is kept in the place of z",
    "schedule_free_adamw": "z - x is kept in the place of z, and sqrt(v/(1 - b^t)) is sqrt(v)/sqrt(1 - b^t)",
    **dict.fromkeys(WITH_REPLICAS, "pulls are one addition with a factor; the chain as in entropy_sgd"),
    "pde_relaxed": "lr (x - y)/gamma is computed as (lr/gamma) (x - y), and y without fused multiply-adds",
} | {name: "norms are summed in another order" for name, rule in RULES.items() if "Norm(" in inspect.getsource(rule)}
SETTINGS: dict[str, dict[str, Any]] = {
    "as in the table": {},
    "weight decay alone": {"momentum": 0.0, "weight_decay": 0.05},
    "nesterov": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.05},
    "no look-ahead": {"momentum": 0.6, "nesterov": False, "weight_decay": 0.05},
    "decoupled": {"decoupled_weight_decay": 0.05, "weight_decay": 0.0},
}
# a setting sets the keywords of an outer rule that a row has; AdamW's weight decay is decoupled
PAIRS = [
    (name, setting)
    for name, case in OPTIMIZERS.items()
    if name in RULES
    for setting, changed in SETTINGS.items()
    if not (changed.get("momentum") is not None and case.keywords.get("outer") == "adamw")
    and set(changed) <= set(inspect.signature(case.make).parameters)
]


def network(dtype: torch.dtype, memory_format: torch.memory_format = torch.contiguous_format) -> nn.Module:
    """Smooth, so that a rounding stays one; a weight of four dimensions, one of two, and vectors."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(45, 4))
    return net.to(dtype=dtype, memory_format=memory_format)


class Batches:
    """A closure on the next of a sequence of seeded batches."""

    def __init__(self, net: nn.Module) -> None:
        self.net, self.calls = net, 0

    def __call__(self) -> Tensor:
        self.calls += 1
        return self.again()

    def again(self) -> Tensor:
        """On the batch of the last call."""
        generator = torch.Generator().manual_seed(self.calls - 1)
        p = next(self.net.parameters())
        inputs = torch.randn(8, 3, 5, 5, generator=generator).to(p.dtype)
        self.net.zero_grad()
        loss = nn.functional.cross_entropy(self.net(inputs), torch.randint(4, (8,), generator=generator))
        loss.backward()
        return loss


def keywords_of(case: Case, **changed: Any) -> dict[str, Any]:
    """Every keyword of the constructor with the value that it has in this case."""
    bound = inspect.signature(case.make).bind([], **{**case.keywords, **changed})
    bound.apply_defaults()
    values = {name: value for name, value in bound.arguments.items() if name != "params"}
    built = case.build([nn.Parameter(torch.ones(1))], **changed).defaults  # what None stands for
    values = {name: built.get(name) if value is None else value for name, value in values.items()}
    if case.make is AdamW:
        values |= {"outer": "adamw", "decoupled_weight_decay": values["weight_decay"], "weight_decay": 0.0}
    return values


def groups_of(net: nn.Module, second: dict[str, Any]) -> list[dict[str, Any]]:
    params = list(net.parameters())
    return [{"params": params[:2]}, {"params": params[2:], **second}]


def fast_weights(case: Case, net: nn.Module, **changed: Any) -> tuple[list[Tensor], int]:
    """Weights after the steps of the package's optimizer, the second group with a rate and a decay of its own."""
    values = keywords_of(case, **changed)
    decay = values["decoupled_weight_decay"] if case.make is AdamW else values["weight_decay"]
    second = {"lr": 0.3 * values["lr"], "weight_decay": 0.5 * decay}
    optimizer, batches = case.build(groups_of(net, second), **changed), Batches(net)
    optimizer.chain = CHAIN
    for _ in range(STEPS):
        optimizer.step(batches)
    return [p.detach() for p in net.parameters()], batches.calls


def plain_weights(rule: reference.Rule, values: dict[str, Any], net: nn.Module) -> tuple[list[Tensor], int]:
    """The same with the reference."""
    second = {"lr": 0.3 * values["lr"], "weight_decay": 0.5 * values["weight_decay"]}
    if not values.get("weight_decay") and rule is reference.sgd:
        second["decoupled_weight_decay"] = 0.5 * values.get("decoupled_weight_decay", 0.0)
    groups = [values | group for group in groups_of(net, second)]
    optimizer, batches = Reference(rule, groups, seed=values.get("seed", 0), chain=CHAIN), Batches(net)
    for _ in range(STEPS):
        optimizer.step(batches)
    return [p.detach() for p in net.parameters()], batches.calls


def distance(a: list[Tensor], b: list[Tensor]) -> float:
    """The largest difference, in units of the data type's epsilon."""
    return max((p - q).abs().max().item() for p, q in zip(a, b, strict=True)) / torch.finfo(a[0].dtype).eps


def test_every_row_of_the_table_has_a_plain_form() -> None:
    assert set(RULES) == set(OPTIMIZERS)
    assert RULES["entropy_sgd_adamw"] is reference.entropy_sgd
    assert RULES["hj_proximal_adamw"] is reference.hj_proximal
    assert RULES["pde_relaxed_hj"] is reference.pde_relaxed
    assert RULES["heat_adamw"] is reference.heat


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "setting"), PAIRS)
def test_the_optimizer_is_its_plain_form(
    name: str, setting: str, dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    case, changed, nets = OPTIMIZERS[name], SETTINGS[setting], [network(dtype, memory_format) for _ in range(2)]
    assert all(net[0].weight.is_contiguous(memory_format=memory_format) for net in nets)
    fast, calls = fast_weights(case, nets[0], **changed)
    plain, plain_calls = plain_weights(RULES[name], keywords_of(case, **changed), nets[1])
    assert calls == plain_calls
    assert distance(fast, plain) <= (EPSILONS_FOR_EACH_GRADIENT * calls if name in ROUNDED else 0), ROUNDED.get(name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["entropy_sgd", "hj"])
def test_without_averages_these_too_are_equal_bit_for_bit(name: str, dtype: torch.dtype) -> None:
    """lerp(mu, y, 1) is y, and powers of 1 + scoping = 2 are not rounded."""
    case, changed = OPTIMIZERS[name], {"averaging": 0.0, "scoping": 1.0, "weight_decay": 0.05}
    fast, _ = fast_weights(case, network(dtype), **changed)
    plain, _ = plain_weights(RULES[name], keywords_of(case, **changed), network(dtype))
    assert distance(fast, plain) == 0


# keywords that a choice has for its other solver or its other equations
IDLE = {
    "hj": {"inner_lr", "inner_momentum"},
    "hj_proximal": {"averaging"},
    "pde_relaxed_hj": {"temperature", "seed"},
    "entropy_sgd_adamw": {"seed", "inner_momentum", "temperature"},
    "hj_adamw": {"inner_lr", "inner_momentum"},
    "hj_proximal_adamw": {"averaging", "inner_momentum"},
}
# those of the rule that was not chosen
OF_MOMENTUM, OF_ADAMW, OF_INNER_ADAMW = {"momentum", "nesterov"}, {"betas", "eps"}, {"inner_betas", "inner_eps"}


def idle(name: str, values: dict[str, Any]) -> set[str]:
    others = OF_MOMENTUM if values.get("outer") == "adamw" else OF_ADAMW
    return IDLE.get(name, set()) | others | ({"inner_momentum"} if values.get("inner") == "adamw" else OF_INNER_ADAMW)


KEYWORDS = [
    (name, keyword)
    for name in RULES
    for keyword, value in keywords_of(OPTIMIZERS[name]).items()
    if not isinstance(value, str) and keyword not in idle(name, keywords_of(OPTIMIZERS[name]))
]


def altered(value: Any) -> Any:
    """A switch the other way, one step or sample more, or one part in a hundred more; of a pair the first less."""
    if isinstance(value, tuple):
        return (0.99 * value[0], value[1])
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value * 1.01 or 0.01


@pytest.mark.parametrize(("name", "keyword"), KEYWORDS)
def test_the_comparison_notices_a_keyword_that_is_one_percent_off(name: str, keyword: str) -> None:
    case = OPTIMIZERS[name]
    changed = {} if case.keywords.get("outer") == "adamw" or case.make is AdamW else SETTINGS["nesterov"]
    changed = {key: value for key, value in changed.items() if key in inspect.signature(case.make).parameters}
    fast, calls = fast_weights(case, network(torch.float64), **changed)
    values = keywords_of(case, **changed)
    values[keyword] = altered(values[keyword])
    plain, _ = plain_weights(RULES[name], values, network(torch.float64))
    assert distance(fast, plain) > 1000 * EPSILONS_FOR_EACH_GRADIENT * calls
