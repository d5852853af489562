"""Every experiment trains with every optimizer: a few evaluations on small data in the published formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deeprelax.configuration.hydra_app import configuration_folder
from deeprelax.optim import CHOICES
from tests.data.fakes import write_cifar, write_images, write_mnist

Command = Callable[..., tuple[int, str, str]]
EXPERIMENTS = sorted(file.stem for file in (configuration_folder() / "experiment").glob("*.yaml"))
TINY = [
    "hardware.threads=1", "batch_size=2", "epochs=0.01", "train.bn_batches=1", "dataset.train_size=20",
    "dataset.validation=0",
]  # fmt: skip


# paper_all_cnn and cifar_jpeg_wrn_16_4 stand for them in the default suite
LARGE = {"cifar10_wrn_28_10", "cifar10_wrn_16_4", "cifar_jpeg_all_cnn"}


@pytest.mark.parametrize(
    "experiment", [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in EXPERIMENTS]
)
def test_experiments_train_with_every_optimizer(
    experiment: str, deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mnist(tmp_path / "data", monkeypatch)
    write_cifar(tmp_path / "data", monkeypatch, per_file=60)
    own = ["dataset.path=mine", "dataset.train_size=9"] if "jpeg" in experiment else []
    # whitening 32 x 32 pixels takes 10 seconds, and more images than an image has values
    own += (
        ["dataset.image_size=9", "dataset.train_size=300"]
        if "cifar10" in experiment or experiment == "paper_all_cnn"
        else []
    )
    write_images(tmp_path / "mine", size=(32, 32))
    for optimizer in CHOICES:
        steps = {"sgd": [], "heat": ["optimizer.samples=1"]}.get(optimizer, ["optimizer.inner_steps=2"])
        status, _, err = deeprelax("train", f"experiment={experiment}", f"optimizer={optimizer}", *TINY, *own, *steps)
        assert (status, err) == (0, ""), optimizer
    results = list((tmp_path / "outputs" / experiment).rglob("result.json"))
    assert len(results) == len(CHOICES)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_has_a_header_and_sets_no_optimizer_key(experiment: str) -> None:
    text = (configuration_folder() / "experiment" / f"{experiment}.yaml").read_text()
    lines = text.splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith("# ")
    assert not any(line.startswith("optimizer:") for line in lines)
    presets = {file.stem for file in (configuration_folder() / "preset" / experiment).glob("*.yaml")}
    assert experiment == "smoke" or presets == set(CHOICES)
