"""From a configuration to a device, data, network and optimizer: what is refused, and how CPUs are set up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from deeprelax.configuration.check import checked
from deeprelax.configuration.schema import HardwareConf
from deeprelax.errors import UserError
from deeprelax.runs import build
from deeprelax.runs.run import check_share
from deeprelax.runs.sharing import shared_by
from tests.quick import train

Compose = Callable[..., DictConfig]


def test_a_network_and_an_optimizer_of_the_users_own(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "from deeprelax.optim import SGD\n"
        "class Net(torch.nn.Sequential):\n"
        "    smallest_image = 5\n"
        "    def __init__(self, channels, image_size, classes, width=3):\n"
        "        super().__init__(torch.nn.Flatten(), torch.nn.Linear(channels * image_size**2, width),\n"
        "                         torch.nn.ReLU(), torch.nn.Linear(width, classes))\n"
        "class Mine(SGD):\n"
        "    pass\n"
        "def other(params):\n"
        "    return torch.optim.SGD(params)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    own = ["model=custom", "model.name=mine:Net", "++model.options.width=7", "epochs=1"]
    result = train(
        compose, tmp_path / "a", *own, "optimizer=custom", "optimizer.name=mine:Mine", "++optimizer.options.lr=0.3"
    )
    assert result["parameters"] == 784 * 7 + 7 + 7 * 10 + 10
    for wrong, message in [
        (["dataset.image_size=4"], "model=mine:Net takes images of 5 pixels or more, these have 4"),
        (["++model.options.depth=7"], "model.options: mine:Net does not take them: .*depth"),
        (["model.name=mine:Nett"], "model.name=mine:Nett: module mine has no Nett"),
        (["model.name=nowhere:Net"], "model.name=nowhere:Net: there is no module nowhere"),
        (["optimizer=custom", "optimizer.name=mine:other"], "is not a deeprelax.optim.Relaxation"),
        (
            ["optimizer=custom", "optimizer.name=mine:Mine", "++optimizer.options.lr=-1"],
            "optimizer: mine:Mine refuses its keys: lr must be a number >= 0 and at most 3.4e.38, not -1",
        ),
    ]:
        with pytest.raises(UserError, match=message):
            train(compose, tmp_path / "b", *own, *wrong, "force=true")


@pytest.mark.parametrize(
    ("optimizer", "share", "by"),
    [
        ("sgd", "data", {1: "data", 2: "data", 3: "data"}),
        ("m_rwp", "data", {1: "evaluations", 2: "evaluations", 3: "data", 4: "data"}),
        ("m_rwp", "chains", {2: "chains", 3: "chains"}),
        ("parle", "data", {2: "evaluations", 3: "evaluations"}),  # replicas that cannot be divided are refused
    ],
)
def test_ranks_divide_what_they_can(compose: Compose, optimizer: str, share: str, by: dict[int, str]) -> None:
    conf = checked(compose(f"optimizer={optimizer}", f"hardware.share={share}", "batch_size=33"))
    assert {world: shared_by(conf, world) for world in by} == by
    if (optimizer, share) == ("m_rwp", "data"):
        check_share(conf, 2)  # nobody divides a batch
        with pytest.raises(UserError, match=r"^batch_size=33 cannot be shared equally by 4 ranks"):
            check_share(conf, 4)


def test_images_too_small_for_the_network(compose: Compose, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="model=lenet takes images of 22 pixels or more, these have 8: set dataset"):
        train(compose, tmp_path, "dataset.image_size=8")


def test_one_image_to_a_rank_and_batch_norm(compose: Compose, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="batch_size=1 leaves one image to a rank, and batch norm needs two"):
        train(compose, tmp_path, "batch_size=1")


def test_training_keeps_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(build, "keep_freed_memory", lambda: called.append("kept"))
    monkeypatch.setattr(build.torch, "set_num_threads", lambda n: called.append(f"threads {n}"))
    build.set_up_cpu(HardwareConf(threads=3))
    assert sorted(called) == ["kept", "threads 3"]
