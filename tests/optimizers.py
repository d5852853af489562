"""The one table of optimizers: whatever must hold for every shipped choice runs over it.

A new shipped optimizer adds its row here; `tests/optim` then holds it to the contract of `Relaxation`, and the tests of
runs, ranks and kills train it from the command line. Its plain form belongs into `tests/optim/reference.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deeprelax.optim import (
    ASAM,
    MRWP,
    MSAM,
    SAM,
    SGD,
    SGLD,
    SNOO,
    AdamW,
    DiLoCo,
    ElasticSGD,
    EntropySGD,
    HamiltonJacobi,
    Heat,
    Lookahead,
    Parle,
    PorousMedium,
    Relaxation,
    ReplicatedSGD,
    ScheduleFree,
    pde_relaxed,
)


@dataclass(frozen=True)
class Case:
    """An optimizer as a test builds it, with momentum, noise and more than one gradient a step where it has them."""

    make: Callable[..., Relaxation]
    keywords: dict[str, Any]  # of the constructor
    overrides: list[str] = field(default_factory=list)  # of the command line, where `choice`
    choice: bool = True  # is its name one of `optimizer=`? Else it is a variant that only the library door has
    noisy: bool = False  # do its steps on a quadratic depend on the Gaussians that it draws?

    def build(self, params: Any, **keywords: Any) -> Relaxation:
        """With the case's keywords, or these instead."""
        return self.make(params, **{**self.keywords, **keywords})


ADAMW = {"outer": "adamw", "lr": 1e-2}
OPTIMIZERS = {
    "sgd": Case(SGD, {"lr": 0.1}),
    "adamw": Case(AdamW, {"lr": 1e-2, "weight_decay": 0.05}, ["optimizer.lr=1e-2"]),
    "entropy_sgd": Case(
        EntropySGD,
        {"lr": 0.7, "inner_steps": 3, "gamma": 2.0, "temperature": 1e-4, "momentum": 0.5, "scoping": 0.1, "seed": 3},
        ["optimizer.inner_steps=3", "optimizer.temperature=1e-5", "optimizer.momentum=0.5", "optimizer.lr=0.5"],
        noisy=True,
    ),
    "hj": Case(
        HamiltonJacobi, {"solver": "fixed_point", "inner_steps": 3, "scoping": 0.05}, ["optimizer.inner_steps=3"]
    ),
    "hj_proximal": Case(
        HamiltonJacobi,
        {"solver": "proximal", "inner_steps": 3, "gamma": 1.0, "lr": 0.5, "momentum": 0.5},
        ["optimizer.inner_steps=3"],
    ),
    "heat": Case(Heat, {"samples": 2, "sigma": 0.05, "seed": 5}, ["optimizer.samples=2"], noisy=True),
    "heat_plain": Case(Heat, {"samples": 2, "sigma": 0.01, "filter_normalized": False}, choice=False, noisy=True),
    "pde_relaxed": Case(
        pde_relaxed,
        {"equation": "viscous_hj", "temperature": 1e-3, "lr": 0.05},
        ["optimizer.inner_steps=2", "optimizer.temperature=1e-4"],
        noisy=True,
    ),
    "pme": Case(
        PorousMedium,
        {"samples": 2, "sigma": 0.5, "strength": 0.02, "bound": 200.0, "seed": 6},
        ["optimizer.samples=2"],
        noisy=True,
    ),
    "sgld": Case(SGLD, {"temperature": 1e-3, "seed": 4}, ["optimizer.temperature=1e-5"], noisy=True),
    "schedule_free": Case(ScheduleFree, {"lr": 0.3, "momentum": 0.8}, ["optimizer.lr=0.3"]),
    "schedule_free_adamw": Case(ScheduleFree, ADAMW, choice=False),
    "parle": Case(
        Parle,
        {"lr": 0.3, "replicas": 3, "inner_steps": 2, "temperature": 1e-4, "momentum": 0.5, "scoping": 0.1, "seed": 3}
        | {"gamma": 2.0, "rho": 2.0, "gamma_min": 1.7, "rho_min": 1.7},
        ["optimizer.replicas=2", "optimizer.inner_steps=2", "optimizer.temperature=1e-5"],
        noisy=True,
    ),
    "elastic_sgd": Case(
        ElasticSGD, {"lr": 0.1, "replicas": 3, "moving_rate": 0.6, "momentum": 0.5}, ["optimizer.replicas=2"]
    ),
    "replicated_sgd": Case(
        ReplicatedSGD,
        {"lr": 0.1, "replicas": 3, "coupling": 0.5, "scoping": 0.1, "momentum": 0.5},
        ["optimizer.replicas=2", "optimizer.coupling=0.1"],
    ),
    "pde_relaxed_hj": Case(pde_relaxed, {"equation": "hj"}, choice=False),
    "pde_relaxed_heat": Case(pde_relaxed, {"equation": "heat", "temperature": 1e-3}, choice=False, noisy=True),
    "entropy_sgd_keep": Case(
        EntropySGD,
        {"lr": 0.5, "inner_steps": 3, "gamma": 2.0, "temperature": 1e-4, "averaging": 0.0, "inner_state": "keep"},
        choice=False,
        noisy=True,
    ),
    "entropy_sgd_outer_adamw": Case(
        EntropySGD,
        {**ADAMW, "inner_steps": 3, "gamma": 2.0, "temperature": 1e-4, "averaging": 0.0},
        choice=False,
        noisy=True,
    ),
    "entropy_sgd_adamw": Case(
        EntropySGD,
        {**ADAMW, "inner": "adamw", "inner_lr": 1e-2, "inner_steps": 3, "gamma": 2.0, "averaging": 0.0},
        choice=False,
    ),
    "hj_adamw": Case(HamiltonJacobi, {**ADAMW, "inner_steps": 3, "averaging": 0.0}, choice=False),
    "hj_proximal_adamw": Case(
        HamiltonJacobi,
        {
            **ADAMW,
            "solver": "proximal",
            "inner": "adamw",
            "inner_lr": 1e-2,
            "inner_state": "reset",
            "inner_steps": 3,
            "gamma": 1.0,
        },
        choice=False,
    ),
    "heat_adamw": Case(
        Heat, {**ADAMW, "samples": 2, "sigma": 0.01, "filter_normalized": False}, choice=False, noisy=True
    ),
    "pde_relaxed_adamw": Case(
        pde_relaxed,
        {**ADAMW, "equation": "heat", "temperature": 1e-3},
        choice=False,
        noisy=True,
    ),
    "sam": Case(SAM, {"rho": 0.1}),
    "asam": Case(ASAM, {"rho": 0.2}),
    "sam_adamw": Case(SAM, {**ADAMW, "rho": 0.1}, choice=False),
    "lookahead": Case(Lookahead, {"inner_steps": 3}, ["optimizer.inner_steps=3"]),
    "snoo": Case(SNOO, {"inner_steps": 3}, ["optimizer.inner_steps=3"]),
    "diloco": Case(DiLoCo, {"inner_steps": 3, "inner_lr": 1e-2}, ["optimizer.inner_steps=3"]),
    "msam": Case(MSAM, {"rho": 0.2, "momentum": 0.8}, ["optimizer.momentum=0.8"]),
    "m_rwp": Case(MRWP, {"sigma": 0.05, "mixing": 0.7, "seed": 5}, noisy=True),
}
# Choices that are no relaxations and keep another contract: tests/optim/test_lbfgs.py and tests/runs/test_lbfgs.py.
NO_RELAXATION = ["lbfgs"]
# choice on the command line: overrides for short steps with momentum and noise
CHOICES = {name: case.overrides for name, case in OPTIMIZERS.items() if case.choice}
# one of each kind stands for the others where the default suite has a second axis: plain, two gradients, chain, mean
KINDS = {"sgd", "sam", "entropy_sgd", "parle"}
# what runs train: every choice, and relaxations with AdamW as their rule, which keep the state of the chain
TRAINED = {name: [f"optimizer={name}", *overrides] for name, overrides in CHOICES.items()} | {
    "heat, adamw": ["optimizer=heat", "optimizer.outer=adamw", "optimizer.samples=2"],
    "schedule_free, adamw": ["optimizer=schedule_free", "optimizer.outer=adamw"],
    "diloco, chains": ["optimizer=diloco", "optimizer.inner_steps=3"],
    "entropy_sgd, adamw": [
        "optimizer=entropy_sgd", "optimizer.outer=adamw", "optimizer.inner=adamw", "optimizer.inner_steps=3",
    ],
}  # fmt: skip
NOISY = [name for name, case in OPTIMIZERS.items() if case.noisy]  # they draw Gaussians
