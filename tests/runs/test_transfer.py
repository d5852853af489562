"""Transfer learning: weights of a file, frozen parts, groups with rates of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from deeprelax import load_model
from deeprelax.errors import UserError
from deeprelax.optim import EntropySGD
from deeprelax.optim.batchnorm import reestimate_batchnorm, training_mode
from deeprelax.records import checkpoint
from deeprelax.runs.parameters import freeze, parameter_groups
from deeprelax.training.schedules import set_rates
from tests.hooks import interrupt_at
from tests.quick import QUICK, assert_same, directory

Command = Callable[..., tuple[int, str, str]]
LENET = ["train", *QUICK, "dataset.train_size=100", "epochs=4", "optimizer=sgd"]
TRANSFER = [
    "train", *QUICK, "dataset.train_size=60", "batch_size=30", "epochs=2", "optimizer=entropy_sgd",
    "optimizer.inner_steps=2", "model=torchvision", "model.architecture=shufflenet_v2_x0_5", "model.weights=w.pth",
    "train.checkpoint_every=0.1",
]  # fmt: skip
PARTS = ["model.freeze=[conv1.*,stage2.*]", "optimizer.groups=[{match: 'fc.*', lr: 0.5, inner_lr: 0.05}]"]


def test_a_transfer_resumes_bit_for_bit_and_needs_its_weights_once(
    deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    start = torchvision.models.get_model("shufflenet_v2_x0_5", weights=None).state_dict()
    torch.save(start, "w.pth")
    assert deeprelax(*TRANSFER, *PARTS, "output_dir=whole")[0] == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        assert deeprelax(*TRANSFER, *PARTS, "output_dir=parts")[0] == 130
    content = Path("w.pth").read_bytes()
    Path("w.pth").write_bytes(content + b"more")
    status, _, err = deeprelax(*TRANSFER, *PARTS, "output_dir=parts")
    assert (status, "model.weights=w.pth is not the file that the run began with" in err) == (1, True)
    Path("w.pth").unlink()
    assert deeprelax(*TRANSFER, *PARTS, "output_dir=parts")[0] == 0
    whole = directory("whole")
    assert_same(whole, directory("parts"))
    status, out, _ = deeprelax("evaluate", str(whole))
    assert (status, out.splitlines()[-1]) == (0, "as in result.json")
    probabilities = load_model(whole)(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))
    assert torch.allclose(probabilities.sum(1), torch.ones(2))
    told = json.loads((whole / "provenance.json").read_text())
    assert len(told["initial_weights"]) == 64
    assert [group["match"] for group in told["parameter_groups"]] == ["(all others)", "fc.*"]
    end = checkpoint.load(whole / checkpoint.NAME)["model"]
    start["conv1.0.weight"] = start["conv1.0.weight"].sum(1, keepdim=True)  # for the digits are grey
    assert torch.equal(end["conv1.0.weight"], start["conv1.0.weight"])
    changed = {
        name.partition(".")[0]
        for name, tensor in end.items()
        if not torch.equal(tensor.flatten()[:1], start[name].flatten()[:1])
    }
    assert changed == {"stage3", "stage4", "conv5", "fc"}  # running statistics of the frozen part are as they were


def test_a_frozen_part_stays_and_is_no_part_of_the_optimizer(deeprelax: Command) -> None:
    assert deeprelax(*LENET, "model.freeze=[0.*,3.*]")[0] == 0
    state = checkpoint.load(directory() / checkpoint.NAME)
    names = [name for name in state["model"] if "running" not in name and "tracked" not in name]
    frozen = [name for name in names if name.startswith(("0.", "3."))]
    assert frozen
    assert len(state["optimizer"]["param_groups"][0]["params"]) == len(names) - len(frozen)
    assert deeprelax(*LENET, "output_dir=free")[0] == 0
    free = checkpoint.load(directory("free") / checkpoint.NAME)["model"]
    assert not any(torch.equal(free[name], state["model"][name]) for name in frozen)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            "model.freeze=[5.wieght]",
            "model.freeze: 5.wieght matches no parameter of the network (did you mean 5.weight",
        ),
        ("model.freeze=['*']", "freezes all parameters"),
        ("optimizer.groups=[{match: 'x.*', lr: 1}]", "optimizer.groups: x.* matches no parameter of the network"),
        (
            "optimizer.groups=[{match: '*', lr: 1}, {match: '5.*', lr: 2}]",
            "5.* matches only parameters that are frozen",
        ),
        ("optimizer.groups=[{match: '5.*', lrr: 1}]", "lrr cannot be of a group (did you mean lr?)"),
        ("optimizer.groups=[{match: '5.*', inner_lr: 1}]", "inner_lr cannot be of a group"),
        ("optimizer.groups=[{match: '5.*', lr: -1}]", "lr must be a number >= 0"),
        ("optimizer.groups=[{match: '5.*'}]", "has no value of its own"),
        ("optimizer.groups=[{lr: 1}]", "has no match"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(given: str, text: str, deeprelax: Command) -> None:
    status, _, err = deeprelax(*LENET, given)
    assert (status, err.count("\n")) == (1, 1), err
    assert text in err


def test_weights_that_are_not_there_and_two_starts_are_refused(deeprelax: Command) -> None:
    status, _, err = deeprelax(*TRANSFER)
    assert (status, err.startswith("deeprelax: model.weights=w.pth is not there: give a file")) == (1, True)
    status, _, err = deeprelax(*TRANSFER, "init_from=w.pth")
    assert (status, "init_from and model.weights exclude each other" in err) == (1, True)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 1))


def test_groups_take_what_is_left_and_the_schedule_acts_on_each() -> None:
    model = network()
    freeze(model, ["0.*"])
    groups = [{"match": "*.bias", "lr": 0.5}, {"match": "3.*", "lr": 0.2}]
    optimizer = EntropySGD(parameter_groups(model, groups), lr=1.0)
    params = [[id(p) for p in group["params"]] for group in optimizer.param_groups]
    assert params == [[id(model[1].weight)], [id(model[1].bias), id(model[3].bias)], [id(model[3].weight)]]
    set_rates(optimizer, 0.1)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.05, 0.02])
    with pytest.raises(UserError, match="matches only parameters that are frozen, or of a group before"):
        parameter_groups(model, [{"match": "0.*", "lr": 1.0}])


def statistics(model: nn.Module) -> list[Tensor]:
    return [buffer.clone() for buffer in model.buffers()]


def test_frozen_batch_norm_keeps_its_statistics_and_half_frozen_does_not() -> None:
    images = torch.randn(8, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    for patterns, keeps in [(["1.*"], True), (["1.weight"], False)]:
        model = network()
        freeze(model, patterns)
        training_mode(model)
        before = statistics(model)
        model(images)
        reestimate_batchnorm(model, [images], keep_frozen=True)
        assert all(map(torch.equal, before, statistics(model))) is keeps
        assert model[1].training is not keeps
        reestimate_batchnorm(model, [images])  # in a loop of one's own every layer is re-estimated
        assert not all(map(torch.equal, before, statistics(model)))
