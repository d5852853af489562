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
from hydra import compose, initialize_config_dir

from deeprelax.bench import steps, timing
from deeprelax.bench.images import random_images, shape_of
from deeprelax.configuration import hydra_app
from deeprelax.configuration.check import validated
from deeprelax.configuration.datasets import DatasetConf
from deeprelax.configuration.schema import BenchConf
from deeprelax.data.batches import Data, Images
from deeprelax.data.normalize import fit
from deeprelax.tasks.classification import Classification
from deeprelax.tasks.task import Setting
from deeprelax.training.objective import Objective
from tests.images import CPU

Command = Callable[..., tuple[int, str, str]]
QUICK = ["bench", "model=mlp", "model.hidden=16", "repeats=1", "evaluations=2", "dataset.train_size=300",
         "batch_size=20", "hardware.threads=1", "hardware.device=cpu"]  # fmt: skip


def configuration(*overrides: str) -> BenchConf:
    """That of `deeprelax bench`, composed without the command line."""
    with initialize_config_dir(str(hydra_app.configuration_folder()), version_base="1.3"):
        conf = validated(compose("bench", list(overrides)))
    assert isinstance(conf, BenchConf)
    return conf


def test_bench_prints_a_table_and_writes_bench_json(deeprelax: Command) -> None:
    status, out, err = deeprelax(*QUICK, "whole_run=null", "optimizers.heat.samples=3")
    assert (status, err) == (0, "")
    found = json.loads(Path("outputs/bench/bench.json").read_text())
    rows = configuration().optimizers
    with_adamw = {name for name, row in rows.items() if "beside" in row}
    assert with_adamw >= {name for name, row in rows.items() if row.get("outer") == "adamw"} | {"adamw", "diloco"}
    names = set(rows) | {f"torch_adamw beside {name}" for name in with_adamw}
    for part in ("ratios", "ratios_with_data", "images_per_second", "copies_of_the_weights"):
        assert found[part].keys() == names
        assert all(value > 0 for value in found[part].values())
    assert found["copies_of_the_weights"]["entropy_sgd_noise"] == found["copies_of_the_weights"]["entropy_sgd"] == 4
    assert found["copies_of_the_weights"]["torch_adamw"] == pytest.approx(2, abs=0.01)
    # x, d, mu, two moments outside, two inside, and these once more in case the step fails
    assert found["copies_of_the_weights"]["entropy_sgd_adamw"] == pytest.approx(9, abs=0.01)
    assert found["over_beside"].keys() == with_adamw
    port = "Entropy-SGD as in public ports"
    assert list(found["yardsticks"]) == [
        f"{port}, DataLoader", f"{port}, images in memory", "torch.optim.SGD, DataLoader"
    ]  # fmt: skip
    assert all(re.search(rf"^  {name} +\d+\.\d\d$", out, re.MULTILINE) for name in found["yardsticks"])
    assert "DataLoader: one image at a time" in out
    assert found["setting"]["threads"] == 1
    assert "  heat, 3 gradients a step" in out
    assert "floor: one bare forward and backward pass in channels_last" in out


def test_a_row_beside_another(deeprelax: Command) -> None:
    status, out, err = deeprelax(
        *QUICK, "whole_run=null", "yardsticks=false", "only=[mine]", "optimizers.mine={name: sgd, beside: torch_adamw}"
    )
    assert (status, err) == (0, "")
    found = json.loads(Path("outputs/bench/bench.json").read_text())
    assert list(found["ratios"]) == ["mine", "torch_adamw beside mine"]
    over = found["over_beside"]["mine"]
    ratios = found["ratios"], found["ratios_with_data"]
    assert over == {"other": "torch_adamw"} | {
        key: pytest.approx(each["mine"] - each["torch_adamw beside mine"])  # of the one round
        for key, each in zip(("alone", "with_data"), ratios, strict=True)
    }
    said = f"mine over torch_adamw, round by round: {over['alone']:+.3f} alone, {over['with_data']:+.3f} with data\n"
    assert said in out
    assert "loops as public code has them" not in out


def test_what_adamw_is_held_against_is_torchs_foreach() -> None:
    row = configuration().optimizers["torch_adamw"]
    optimizer = steps.built({**row, "beside": "sgd"}, torch.nn.Linear(3, 2))
    assert type(optimizer) is torch.optim.AdamW
    assert optimizer.defaults["foreach"] is True
    assert optimizer.defaults["lr"] == 0


def test_rows_side_by_side_take_as_many_gradients_as_their_floor_and_leave_x(monkeypatch: pytest.MonkeyPatch) -> None:
    conf = configuration(
        "model=mlp", "model.hidden=16", "batch_size=4", "evaluations=7",
        "+optimizers.mine={name: entropy_sgd, inner_steps: 3, beside: other}",
        "+optimizers.other={name: heat, samples: 2}",
    )  # fmt: skip
    passes = {"floor": 0, "objective": 0}
    once = steps.Bare.once

    def counted(self: steps.Bare) -> torch.Tensor:
        passes["floor"] += 1
        return once(self)

    monkeypatch.setattr(steps.Bare, "once", counted)
    monkeypatch.setattr(Objective, "before_each", [lambda self: passes.update(objective=passes["objective"] + 1)])
    rounds: list[dict[str, tuple[int, int]]] = []

    def beside(floor: steps.Bare, works: dict[str, timing.Work], *rest: object) -> dict[str, timing.Ratio]:
        before = [p.detach().clone() for p in floor._parameters]
        rounds.append({})
        for name, work in {"floor": floor, **works}.items():
            passes.update(floor=0, objective=0)
            work()
            rounds[-1][name] = passes["floor"], passes["objective"]
            torch.testing.assert_close(floor._parameters, before, rtol=0, atol=0)
        return {name: timing.Ratio([1.0], [1.0]) for name in ("floor", *works)}

    monkeypatch.setattr(steps, "beside", beside)
    found = steps.step_costs(conf, small_task(), "mine")
    both = {"mine": 3, "other beside mine": 2}
    assert {name: cost.inner_steps for name, cost in found.items()} == both
    expected = {"floor": (12, 0)}  # the first multiple of 3 and 2 from 7 on
    for name in both:
        expected |= {f"{name} alone": (12, 0), f"{name} fed": (0, 12)}
    assert rounds == [expected]


def small_task() -> Classification:
    images = random_images(Path(), channels=1, image_size=28, classes=10, train=40, test=10)
    train, test = (Images(split, fit("mean_std", images.train.images), CPU) for split in (images.train, images.test))
    data = Data(train, test, None, 1, 28, images.classes)
    return Classification(Setting(CPU, 0, 4, load_data=lambda: (data, None)))


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
        (["optimizers.sgd.beside=sgdd"], "optimizers.sgd.beside=sgdd is not one of the optimizers sgd, entropy_sgd, "),
        (["optimizers.sgd.beside=[sgd]"], r"optimizers.sgd.beside=\['sgd'\] is not one of the optimizers sgd, "),
        (
            ["optimizers.a.name=collections:Counter", "only=[a]"],
            "optimizer.*: collections:Counter is no torch.optim.Optimizer: name",
        ),
        (["optimizers.a.name=lbfgs", "only=[a]"], "optimizers: a step of lbfgs has no cost of its own, for it varies"),
        (["only=[a]"], "only=a is not one of the optimizers sgd, entropy_sgd, "),
        (["optimizers.sgd.name=sgdd"], r"optimizer.name=sgdd is unknown \(did you mean sgd\?\)"),
    ],
)
def test_mistakes_are_said_in_a_sentence(arguments: list[str], message: str, deeprelax: Command) -> None:
    status, _, err = deeprelax(*QUICK, *arguments)
    assert (status, err.count("\n")) == (1, 1)
    assert re.search(message, err)


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
