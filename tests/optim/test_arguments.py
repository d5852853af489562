"""What the optimizers accept, and what they refuse by name."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable

import pytest
import torch
from torch import nn

import tests.optimizers
from deeprelax import optim
from deeprelax.optim import (
    CHOICES,
    LBFGS,
    SGD,
    AdamW,
    ElasticSGD,
    EntropySGD,
    HamiltonJacobi,
    Heat,
    Parle,
    Relaxation,
    ReplicatedSGD,
    ScheduleFree,
    pde_relaxed,
)
from deeprelax.optim.hyperparameters import RANGES, WITHOUT_CHAIN
from deeprelax.optim.outer import RULES
from tests.optimizers import NO_RELAXATION, OPTIMIZERS

from .problems import descend, network


def test_a_closure_without_a_loss_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match="must return the loss as a number or a tensor of one element, not None"):
        SGD(network().parameters()).step(lambda: None)


OUT_OF_RANGE: dict[str, list[object]] = {
    "lr": [-0.1, math.nan, math.inf, "fast"],
    "gamma": [0.0, -1.0, math.nan],
    "pde_relaxed.gamma": [0.0, -1.0, math.nan, math.inf],
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
    "outer": ["sgd"],
    "betas": [(0.9,), (0.9, 1.0), 0.9],
    "eps": [-1e-8, "small"],
    "decoupled_weight_decay": [-0.1],
    "inner": ["adam"],
    "inner_betas": [(1.0, 0.9)],
    "inner_eps": [math.nan],
    "inner_state": ["average"],
    "closure_calls": ["twice"],
    "replicas": [0, 2.0, 1001],
    "rho": [0.0, math.nan],
    "gamma_min": [-1.0, math.inf],
    "rho_min": [-1.0, math.inf],
    "moving_rate": [-0.1, 1.5],
    "coupling": [-0.1, math.inf],
    "solver": ["newton"],
    "equation": ["wave"],
    "max_iter": [0, 2.5],
    "max_eval": [0, True],
    "tolerance_grad": [-1e-9, math.inf],
    "tolerance_change": [0.0, math.nan],
    "history_size": [0, 10_001],
}


def test_every_choice_of_the_command_line_stands_in_the_table() -> None:
    assert sorted([*tests.optimizers.CHOICES, *NO_RELAXATION]) == sorted(CHOICES)
    for name, (path, _) in CHOICES.items():
        made = getattr(optim, path.partition(":")[2])
        assert (isinstance(made, type) and not issubclass(made, Relaxation)) == (name in NO_RELAXATION), name
    for name in tests.optimizers.CHOICES:
        (path, fixed), case = CHOICES[name], OPTIMIZERS[name]
        assert path.endswith(f":{case.make.__name__}")
        assert fixed.items() <= case.keywords.items()


def out_of_range(key: str) -> list[object]:
    """Values that must be refused: those above, or what the sentence says, "a number >= 0", "in [0, 1)" and so on."""
    kind, _, says = RANGES[key]
    found: list[object] = ["fast", *OUT_OF_RANGE.get(key, [] if kind is str else [math.nan])]
    for sign, number in re.findall(r"(>=|>) ([\d.]+)", says):
        found.append(float(number) - (0.5 if sign == ">=" else 0.0))
    for opens, low, high, closes in re.findall(r"([\[(])([\d.]+), ([\d.]+)([\])])", says):
        found += [float(low) - 0.1, float(high) + 0.1] + [float(low)] * (opens == "(") + [float(high)] * (closes == ")")
    return [found] if kind is list[float] else found


def test_what_must_be_refused_is_found_for_every_range() -> None:
    assert set(OUT_OF_RANGE) <= set(RANGES)
    assert -0.5 in out_of_range("sigma")
    assert 0.0 in out_of_range("inner_lr")
    assert {-0.1, 1.0, 1.1} <= set(out_of_range("momentum"))


def test_what_takes_one_gradient_at_x_has_no_chain() -> None:
    params = [nn.Parameter(torch.ones(1))]
    still = [name for name in tests.optimizers.CHOICES if not OPTIMIZERS[name].build(params).moves]
    assert sorted([*still, *NO_RELAXATION]) == sorted(WITHOUT_CHAIN)


def test_every_rule_may_be_chosen_and_no_other() -> None:
    for key in ("outer", "inner"):
        assert all(RANGES[key][1](name) for name in RULES)
        assert RANGES[key][2] == " or ".join(RULES)


@pytest.mark.parametrize("make", [*dict.fromkeys(case.make for case in OPTIMIZERS.values()), LBFGS])
def test_values_out_of_range_are_refused_by_name(make: Callable[..., Relaxation]) -> None:
    p = nn.Parameter(torch.ones(1))
    for keyword in set(inspect.signature(make).parameters) & set(RANGES):
        own = f"{getattr(make, 'choice', make.__name__)}.{keyword}"
        for value in out_of_range(own if own in RANGES else keyword):
            with pytest.raises(ValueError, match=rf"^{keyword} must be "):
                make([p], **{keyword: value})
            with pytest.raises(ValueError, match=rf"^{keyword} must be "):
                make([{"params": [p], keyword: value}])


def test_what_belongs_to_the_whole_step_must_not_differ_between_groups() -> None:
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = EntropySGD([{"params": [a], "inner_steps": 2}, {"params": [b], "inner_steps": 3}])
    with pytest.raises(ValueError, match=r"inner_steps must be the same in all parameter groups, not \[2, 3\]"):
        descend(optimizer, lambda: (a * b).sum())


OUTER = " outer betas eps decoupled_weight_decay"
INNER = " inner inner_betas inner_eps inner_state"
PUBLIC = {
    SGD: "lr momentum nesterov weight_decay closure_calls",
    AdamW: "lr betas eps weight_decay closure_calls",
    EntropySGD: "lr gamma inner_steps inner_lr temperature averaging momentum nesterov inner_momentum weight_decay "
    "scoping seed" + OUTER + INNER + " closure_calls",
    HamiltonJacobi: "lr gamma inner_steps solver inner_lr inner_momentum averaging momentum nesterov weight_decay "
    "scoping" + OUTER + INNER + " closure_calls",
    Heat: "lr sigma samples filter_normalized momentum nesterov weight_decay seed" + OUTER + " closure_calls",
    pde_relaxed: "equation gamma temperature inner_steps lr momentum nesterov weight_decay seed"
    + OUTER
    + " closure_calls",
    ScheduleFree: "lr momentum weight_decay outer betas eps decoupled_weight_decay closure_calls",
    Parle: "lr replicas inner_steps gamma rho scoping gamma_min rho_min inner_lr inner_momentum averaging temperature "
    "momentum nesterov weight_decay seed closure_calls",
    ElasticSGD: "lr replicas moving_rate momentum nesterov weight_decay closure_calls",
    ReplicatedSGD: "lr replicas coupling scoping momentum nesterov weight_decay closure_calls",
    LBFGS: "lr max_iter max_eval tolerance_grad tolerance_change history_size",
}


@pytest.mark.parametrize("make", PUBLIC)
def test_the_public_keywords(make: Callable[..., Relaxation]) -> None:
    keywords = [name for name in inspect.signature(make).parameters if name not in ("self", "params")]
    assert keywords == PUBLIC[make].split()
    assert all(f"{name}" in (make.__doc__ or "") for name in keywords)
