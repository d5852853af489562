"""Test that `deeprelax bench` measures what it says it measures; no test depends on a speed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir

from deeprelax.bench import steps, timing, whole
from deeprelax.bench.images import random_images, shape_of
from deeprelax.bench.yardsticks import Pictures, PortStyle, endless, in_memory
from deeprelax.configuration import hydra_app
from deeprelax.configuration.check import validated
from deeprelax.configuration.datasets import DatasetConf
from deeprelax.configuration.schema import BenchConf
from deeprelax.data.batches import Data, Images
from deeprelax.data.normalize import fit
from deeprelax.optim import EntropySGD
from deeprelax.tasks.classification import Classification
from deeprelax.tasks.task import Setting
from deeprelax.training.objective import Objective

Command = Callable[..., tuple[int, str, str]]
QUICK = ["bench", "model=mlp", "model.hidden=16", "repeats=1", "evaluations=2", "dataset.train_size=300",
         "batch_size=20", "hardware.threads=1", "hardware.device=cpu"]  # fmt: skip
CPU = torch.device("cpu")


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


def test_ratios_are_over_the_floor_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, costs = [0.0], {"floor": iter([9, 1, 2, 2, 4, 3, 5]), "work": iter([9, 6, 8])}
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def work(name: str) -> None:
        clock[0] += next(costs[name])

    found = timing.beside(lambda: work("floor"), {"work": lambda: work("work")}, 2, CPU)
    assert found["work"].seconds == [6, 8]
    assert found["work"].ratios == [6 / 1.5, 8 / 3]  # floors 1, 2 around the first and 2, 4 around the second
    assert found["work"].median == (6 / 1.5 + 8 / 3) / 2
    assert found["work"].over(found["floor"]) == found["work"].median - 1


def test_what_the_run_has_launched_is_no_time_of_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is behind by a second, on a clock of its own; a pass takes a tenth."""
    clock, behind = [0.0], [1.0]

    def wait(device: object) -> None:
        clock[0], behind[0] = clock[0] + behind[0], 0.0

    def passes() -> None:
        behind[0] += 0.1

    monkeypatch.setattr(timing, "wait", wait)
    monkeypatch.setattr(whole, "wait", wait)
    floor: Any = passes
    between = whole.Between(floor=floor)
    monkeypatch.setattr(passes, "once", passes, raising=False)
    objective: Any = SimpleNamespace(evaluations=0, task=SimpleNamespace(setting=SimpleNamespace(device=CPU)))
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: clock[0])
        between.measure(objective)
    assert between.spent == [pytest.approx(0.2)]  # one more, unmeasured
    assert between.seconds == [pytest.approx(0.1)]


def test_over_another_goes_round_by_round() -> None:
    """The median of the differences, not the difference of the medians."""
    assert timing.Ratio(ratios=[1, 5, 3]).over(timing.Ratio(ratios=[0, 3, 3])) == 1
    assert timing.Ratio(ratios=[1, 2, 9]).over(timing.Ratio(ratios=[4, 1, 8])) == 1


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


@pytest.mark.parametrize("channels", [1, 3])
def test_the_yardsticks_read_the_same_images_either_way(channels: int) -> None:
    split = random_images(Path(), channels=channels, image_size=5, classes=10, train=30, test=1).train
    torch.manual_seed(0)
    split.labels[:] = torch.arange(30)  # each image's number
    batches, pictures = in_memory(split, 16, CPU), Pictures(split)
    drawn = [next(batches) for _ in range(20)]
    for images, numbers in drawn:
        assert images.shape == (16, channels, 5, 5)
        torch.testing.assert_close(images, torch.stack([pictures[int(number)][0] for number in numbers]))
    assert {int(number) for _, numbers in drawn for number in numbers} == set(
        range(30)
    )  # another seed misses one by 6e-4
    assert len({tuple(numbers.tolist()) for _, numbers in drawn}) == 20
    loaded, numbers = next(endless(split, 30, 0, CPU))
    torch.testing.assert_close(loaded[numbers.argsort()], torch.stack([image for image, _ in pictures]))


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
