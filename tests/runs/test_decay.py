"""`optimizer.decay_norms_and_biases=false`: parameters of one dimension have no weight decay, with any optimizer."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from omegaconf import DictConfig
from torch import nn

from deeprelax.configuration.check import checked
from deeprelax.optim import CHOICES, EntropySGD
from deeprelax.records import checkpoint
from deeprelax.runs.build import build_optimizer
from deeprelax.training.stepper import Stepper
from tests.optimizers import NO_RELAXATION
from tests.quick import QUICK, directory

Command = Callable[..., tuple[int, str, str]]
Compose = Callable[..., DictConfig]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 1))


def names(model: nn.Module, optimizer: Stepper) -> list[list[str]]:
    by_id = {id(p): name for name, p in model.named_parameters()}
    return [[by_id[id(p)] for p in group["params"]] for group in optimizer.param_groups]


FLAT = ["0.bias", "1.weight", "1.bias", "3.bias"]


@pytest.mark.parametrize("name", [name for name in CHOICES if name not in NO_RELAXATION])
def test_every_optimizer_has_it_with_the_decay_that_it_has(name: str, compose: Compose) -> None:
    kinds = ["weight_decay"] + ["decoupled_weight_decay"] * (
        "decoupled_weight_decay" in compose(f"optimizer={name}").optimizer
    )
    for kind in kinds:
        conf = checked(compose(f"optimizer={name}", f"optimizer.{kind}=0.1", "optimizer.decay_norms_and_biases=false"))
        model = network()
        optimizer = build_optimizer(conf.optimizer, model)
        assert names(model, optimizer) == [["0.weight", "3.weight"], FLAT]
        assert [group[kind] for group in optimizer.param_groups] == [0.1, 0.0]


def test_a_zero_gradient_leaves_them_and_shrinks_the_rest(compose: Compose) -> None:
    given = ["optimizer=sgd", "optimizer.lr=0.5", "optimizer.momentum=0", "optimizer.weight_decay=0.1"]
    for decays in ("true", "false"):
        model = network()
        optimizer = build_optimizer(
            checked(compose(*given, f"optimizer.decay_norms_and_biases={decays}")).optimizer, model
        )
        before = {name: p.detach().clone() for name, p in model.named_parameters()}

        def closure() -> torch.Tensor:
            loss = sum((0 * p).sum() for p in model.parameters())  # noqa: B023
            assert isinstance(loss, torch.Tensor)
            optimizer.zero_grad()  # noqa: B023
            loss.backward()
            return loss

        optimizer.step(closure)
        for name, p in model.named_parameters():
            factor = 1.0 if decays == "false" and name in FLAT else 0.95
            torch.testing.assert_close(p.detach(), factor * before[name])


def test_it_goes_with_groups(compose: Compose) -> None:
    """A group is in two; that of the biases keeps its rate, and has no decay though the group gives one."""
    groups = "optimizer.groups=[{match: '3.*', lr: 0.2, weight_decay: 0.3},{match: '1.*', lr: 0.4}]"
    given = ["optimizer=entropy_sgd", "optimizer.weight_decay=0.1", "optimizer.decay_norms_and_biases=false", groups]
    model = network()
    optimizer = build_optimizer(checked(compose(*given)).optimizer, model)
    assert isinstance(optimizer, EntropySGD)
    assert names(model, optimizer) == [["0.weight"], ["0.bias"], ["3.weight"], ["3.bias"], ["1.weight", "1.bias"]]
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [
        (1.0, 0.1), (1.0, 0.0), (0.2, 0.3), (0.2, 0.0), (0.4, 0.0)
    ]  # fmt: skip


def test_a_run_says_it_and_a_chain_that_changes_it_begins_without_a_state(deeprelax: Command) -> None:
    run = ["train", *QUICK, "optimizer=adamw", "epochs=1"]
    status, out, _ = deeprelax(*run, "optimizer.decay_norms_and_biases=false", "output_dir=first")
    assert status == 0
    told = json.loads((directory("first") / "provenance.json").read_text())["parameters_without_decay"]
    assert f"{told} parameters of norm layers and biases: no weight decay\n" in out
    assert told == sum(t.numel() for name, t in checkpoint.load(directory("first") / checkpoint.NAME)["model"].items()
                       if t.ndim == 1 and "running" not in name)  # fmt: skip
    more = ["train", f"continue_from={directory('first')}", "epochs=2", "optimizer.decay_norms_and_biases=true"]
    assert "(adamw) begins without a state" in deeprelax(*more, "output_dir=second")[1]
    status, _, err = deeprelax("train", "optimizer=lbfgs", "optimizer.decay_norms_and_biases=false")
    assert (status, err.count("\n")) == (1, 1)
    assert "optimizer=lbfgs has no weight decay, leave it out" in err
