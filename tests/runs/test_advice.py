"""What the message on a loss that is not finite names: what can be the cause with these values, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from omegaconf import DictConfig

from deeprelax.configuration.check import checked
from deeprelax.parallel.ranks import SOLO
from deeprelax.runs.advice import advice
from deeprelax.runs.build import build_model, build_optimizer, build_task
from deeprelax.training.share import Share
from tests.hooks import spoil
from tests.quick import RUN

Compose = Callable[..., DictConfig]
Command = Callable[..., tuple[int, str, str]]
MEASURES = "; deeprelax find-lr with the same keys measures what rate it bears"
CHAIN = "lower optimizer.inner_lr=0.1 (with its momentum of 0.9 a rate of 1)"
SGD = "lower optimizer.lr=0.1 (with its momentum of 0.9 a rate of 1)"
ADAMW = ["optimizer.outer=adamw", "optimizer.inner=adamw"]


def said(compose: Compose, *overrides: str, step: int = 7) -> str:
    conf = checked(compose("dataset.train_size=100", "hardware.device=cpu", *overrides))
    task = build_task(conf, torch.device("cpu"), Share(SOLO))
    model = build_model(conf.model, task, 0, torch.device("cpu"), channels_last=False)
    return advice(conf, build_optimizer(conf.optimizer, model), task, step)


@pytest.mark.parametrize(
    ("optimizer", "keys", "message"),
    [
        ("sgd", [], SGD + MEASURES),
        ("sgd", ["optimizer.momentum=0"], "lower optimizer.lr=0.1" + MEASURES),
        ("sgd", ["batch_size=8"], f"{SGD}, or raise batch_size=8{MEASURES}"),
        ("sgd", ["optimizer.weight_decay=2"], f"{SGD} or optimizer.weight_decay=2{MEASURES}"),
        ("sgd", ["hardware.precision=bfloat16"], f"{SGD}, or set hardware.precision=float32{MEASURES}"),
        ("sgd", ["dataset.image_size=64"], f"{SGD} or dataset.image_size=64 (the default rates were chosen on pictures "
         f"of 32 at most){MEASURES}"),
        ("adamw", [], "lower optimizer.lr=0.001" + MEASURES),
        ("adamw", ["optimizer.eps=0"], f"lower optimizer.lr=0.001, or raise optimizer.eps=0{MEASURES}"),
        ("entropy_sgd", [], CHAIN + MEASURES),  # a temperature of 1e-8, a jump to the mean: neither can be it
        ("entropy_sgd", ["optimizer.inner_lr=1e6"], "lower optimizer.inner_lr=1e+06 (with its momentum of 0.9 a "
         f"rate of 1e+07){MEASURES}"),
        ("entropy_sgd", ["optimizer.lr=2"], f"{CHAIN} or optimizer.lr=2{MEASURES}"),
        ("entropy_sgd", ["optimizer.temperature=0.01"], f"{CHAIN} or optimizer.temperature=0.01{MEASURES}"),
        ("entropy_sgd", ["optimizer.gamma=0.05"], f"{CHAIN}, or raise optimizer.gamma=0.05 (let a step of the chain go "
         f"2 of the way back to x){MEASURES}"),
        ("entropy_sgd", ADAMW, "lower optimizer.inner_lr=0.001 or optimizer.lr=0.001" + MEASURES),
        ("hj_proximal", [], CHAIN + MEASURES),
        ("hj", [], f"{SGD} or optimizer.gamma=0.1{MEASURES}"),
        ("hj", ["optimizer.gamma=1e-4"], SGD + MEASURES),
        ("heat", [], SGD + MEASURES),
        ("heat", ["optimizer.sigma=0.5"], f"{SGD} or optimizer.sigma=0.5{MEASURES}"),
        ("pde_relaxed", [], f"{SGD} or optimizer.gamma=0.1{MEASURES}"),
        ("pde_relaxed", ["optimizer.equation=heat"], SGD + MEASURES),
        ("lbfgs", [], "lower optimizer.lr=1"),
    ],
)  # fmt: skip
def test_what_is_named(optimizer: str, keys: list[str], message: str, compose: Compose) -> None:
    assert said(compose, f"optimizer={optimizer}", *keys) == message


def test_an_optimizer_of_the_users_own(compose: Compose) -> None:
    own = ["optimizer=custom", "optimizer.name=deeprelax.optim:Heat"]
    assert said(compose, *own) == "make its steps smaller" + MEASURES
    assert said(compose, *own, "++optimizer.options.lr=3") == (
        "lower optimizer.options.lr=3 (with its momentum of 0.9 a rate of 30)" + MEASURES
    )


def test_a_first_gradient_that_is_not_finite_is_no_rates_fault(
    deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch)
    status, _, err = deeprelax(*RUN)
    assert status == 1
    assert err.endswith(
        "it was so at the first gradient, before any step: look at the data, the loss and the initial weights, not at "
        "a rate\n"
    )
