"""Test that `deeprelax bench` measures what it says it measures; no test depends on a speed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deeprelax.bench import timing
from deeprelax.bench.images import random_images, shape_of
from deeprelax.bench.yardsticks import PortStyle
from deeprelax.configuration.schema import DatasetConf
from deeprelax.optim import EntropySGD

Command = Callable[..., tuple[int, str, str]]
QUICK = ["bench", "model=mlp", "model.hidden=16", "repeats=1", "evaluations=2", "dataset.train_size=300",
         "batch_size=20", "hardware.threads=1", "hardware.device=cpu"]  # fmt: skip
CPU = torch.device("cpu")


def test_bench_prints_a_table_and_writes_bench_json(deeprelax: Command) -> None:
    status, out, err = deeprelax(*QUICK, "whole_run=null", "optimizers.heat.samples=3")
    assert (status, err) == (0, "")
    found = json.loads(Path("outputs/bench/bench.json").read_text())
    names = {"sgd", "entropy_sgd", "entropy_sgd_noise", "hj", "hj_proximal", "heat", "pde_relaxed"}
    for part in ("ratios", "ratios_with_data", "images_per_second", "copies_of_the_weights"):
        assert found[part].keys() == names
        assert all(value > 0 for value in found[part].values())
    assert found["copies_of_the_weights"]["entropy_sgd_noise"] == found["copies_of_the_weights"]["entropy_sgd"] == 4
    assert found["yardsticks"].keys() == {"Entropy-SGD as in public ports", "torch.optim.SGD with a DataLoader"}
    assert found["setting"]["threads"] == 1
    assert "  heat, 3 gradients a step" in out
    assert "floor: one bare forward and backward pass in channels_last" in out


@pytest.mark.slow
def test_the_whole_run(deeprelax: Command) -> None:
    status, out, err = deeprelax(*QUICK, "whole_run=1", "yardsticks=false", "only=[sgd]")
    assert (status, err) == (0, "")
    found = json.loads(Path("outputs/bench/bench.json").read_text())
    assert found["whole_run"]["evaluations"] == 20  # inner_steps at the least
    assert found["whole_run"]["process_over_floor"] > found["whole_run"]["loop_over_floor"] > 1
    assert "deeprelax train, 1 passes, 20 evaluations: " in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["repeats=0"], "repeats=0 is out of range: it must be an integer from 1 to 1000"),
        (["optimizers.sgd.lrr=1"], "optimizer.options: sgd does not take them: .*lrr"),
        (["optimizers.a.lr=1"], "optimizers.a needs a name: write optimizers.a.name=NAME"),
        (["optimizers.a=sgd"], "optimizers.a needs a name"),
        (["only=[a]"], "only=a is not one of the optimizers sgd, entropy_sgd, "),
        (["optimizers.sgd.name=sgdd"], r"optimizer.name=sgdd is unknown \(did you mean sgd\?\)"),
    ],
)
def test_mistakes_are_said_in_a_sentence(arguments: list[str], message: str, deeprelax: Command) -> None:
    status, _, err = deeprelax(*QUICK, *arguments)
    assert (status, err.count("\n")) == (1, 1)
    assert re.search(message, err)


def test_ratios_are_over_the_floor_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, costs = [0.0], {"floor": iter([9, 1, 2, 2, 4, 3, 5]), "work": iter([9, 6, 8])}
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def work(name: str) -> None:
        clock[0] += next(costs[name])

    found = timing.beside(lambda: work("floor"), {"work": lambda: work("work")}, 2, CPU)
    assert found["work"].seconds == [6, 8]
    assert found["work"].ratios == [6 / 1.5, 8 / 3]  # floors 1, 2 around the first and 2, 4 around the second
    assert found["work"].median == (6 / 1.5 + 8 / 3) / 2


def test_the_port_style_yardstick_descends_like_ours() -> None:
    """Without noise it is the same algorithm, so that the costs can be compared."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(5, 5, generator=generator)
    a = a @ a.T / 5 + torch.eye(5)

    def net() -> torch.nn.Linear:
        model = torch.nn.Linear(5, 1, bias=False)
        with torch.no_grad():
            model.weight.copy_(torch.arange(5.0))
        return model

    ours, ported = net(), net()

    def loss(model: torch.nn.Linear) -> torch.Tensor:
        model.zero_grad()
        value = 0.5 * model.weight[0] @ a @ model.weight[0]
        value.backward()
        return value

    port = PortStyle(ported, inner_steps=4, noise=0.0)
    port.lr = 0.7
    optimizer = EntropySGD(ours.parameters(), lr=0.7, inner_steps=4, temperature=0.0)
    for _ in range(3):
        optimizer.step(lambda: loss(ours))
        port.step(lambda: loss(ported).item())
    torch.testing.assert_close(ours.weight, ported.weight)


def test_random_images_have_the_shape_of_the_data_set() -> None:
    conf = DatasetConf(name="cifar100", image_size=None, train_size=500)
    data = random_images(Path(), **shape_of(conf))
    assert data.train.images.shape == (500, 3, 32, 32)
    assert (len(data.test), len(data.classes)) == (10_000, 100)


def test_the_first_step_of_training_has_loaded_only_what_it_used() -> None:
    code = (
        "import sys\n"
        "from deeprelax.cli import main\n"
        "from deeprelax.training.objective import Objective\n"
        "def stop(objective):\n"
        "    print(sorted({'torchvision', 'tensorboard', 'torch._dynamo', 'matplotlib'} & set(sys.modules)))\n"
        "    raise KeyboardInterrupt\n"
        "Objective.before_each.append(stop)\n"
        "main(['train'])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.endswith("\n[]\n")
