"""Test the names of run directories."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from deeprelax.configuration.run_name import CUT, LONGEST, run_family, run_name, whole_name


def name(*overrides: str, choices: dict[str, str] | None = None, **values: Any) -> str:
    root = OmegaConf.create(
        {
            "seed": 3,
            **values,
            "hydra": {"overrides": {"task": list(overrides)}, "runtime": {"choices": choices or {}}},
        }
    )
    return run_name(root)


def test_what_tells_runs_apart_comes_first_by_its_resolved_values_and_without_what_has_no_effect() -> None:
    shown = name(
        "train.bn_batches=5", "optimizer=hj", "+epochs=1e1",
        "seed=3", "data_dir=/x", "hardware.threads=2", "force=true", "name=mine", "tags=[a]",
        choices={"optimizer": "hj"}, epochs=10.0, train={"bn_batches": 5},
    )  # fmt: skip
    assert shown == "optimizer-hj+epochs-10+train.bn_batches-5/seed-3"


def test_a_long_path_leaves_room_for_what_else_was_given() -> None:
    given = ["continue_from=...", "optimizer=hj", "epochs=9"]
    here, there = (
        name(*given, choices={"optimizer": "hj"}, epochs=9, continue_from=f"/{folder * 40}/train/optimizer-sgd")
        for folder in ("here", "there")
    )
    assert here.startswith("optimizer-hj+epochs-9+continue_from-train_optimizer-sgd-")
    assert here != there
    short = name("continue_from=...", "epochs=9", epochs=9, continue_from="runs/a")
    assert re.fullmatch(r"epochs-9\+continue_from-runs_a-[0-9a-f]{8}/seed-3", short)


LONG = ["batch_size=128", "dataset.train_size=50000", "dataset.validation=10000", "epochs=1e1", "model=wrn_16_4",
        "optimizer=entropy_sgd", "train.bn_batches=5", "train.evaluate_every=2"]  # fmt: skip
VALUES: dict[str, Any] = {
    "batch_size": 128, "dataset": {"train_size": 50_000, "validation": 10_000, "options": {}}, "epochs": 10.0,
    "train": {"bn_batches": 5, "evaluate_every": 2.0}, "choices": {"optimizer": "entropy_sgd", "model": "wrn_16_4"},
}  # fmt: skip


def test_three_values_of_a_key_are_read_in_three_names_however_long() -> None:
    for more in ({}, {"dataset": {**VALUES["dataset"], "options": {"text": "x" * 300}}}):
        given = [*LONG, "dataset.options.text=..."] if more else LONG
        names = [
            name(*given, "optimizer.gamma=...", optimizer={"gamma": g}, **VALUES | more) for g in (1.0, 10.0, 100.0)
        ]
        for shown, gamma in zip(names, (1, 10, 100), strict=True):
            assert shown.startswith(f"optimizer-entropy_sgd+optimizer.gamma-{gamma}+model-wrn_16_4+dataset.")
            folder = shown.rpartition("/")[0]
            assert bool(CUT.search(folder)) == bool(more)
            assert 160 < len(folder) < LONGEST if not more else len(folder) == LONGEST


def test_a_directory_of_an_earlier_version_is_found_by_its_name(tmp_path: Path) -> None:
    """The names that it gave, sorted by the alphabet and cut after 120 bytes, are written out here."""
    now = "optimizer-hj+epochs-10"
    overrides: dict[str, Any] = {"choices": {"optimizer": "hj"}, "epochs": 10.0}
    before = Path("outputs/train/epochs-10+optimizer-hj")
    assert name("epochs=10", "optimizer=hj", **overrides) == f"{now}/seed-3"
    (before / "seed-0").mkdir(parents=True)
    assert name("epochs=10", "optimizer=hj", **overrides) == "epochs-10+optimizer-hj/seed-3"  # beside the other seeds
    assert name("epochs=10", "optimizer=hj", output_dir="other", **overrides) == f"{now}/seed-3"
    Path("outputs/train", now, "seed-3").mkdir(parents=True)
    assert name("epochs=10", "optimizer=hj", **overrides) == f"{now}/seed-3"
    assert name("epochs=10", "optimizer=hj", seed=0, **overrides) == "epochs-10+optimizer-hj/seed-0"
    long = (
        "batch_size-128+dataset.train_size-50000+dataset.validation-10000+epochs-10+model-wrn_16_4+"
        "optimizer-entropy_sgd-"
    )
    cut = Path("outputs/train", f"{long}011c73a2")
    (cut / "seed-3").mkdir(parents=True)
    assert name(*LONG, "optimizer.gamma=...", optimizer={"gamma": 1.0}, **VALUES) == f"{cut.name}/seed-3"


def test_graphs_are_in_no_name_but_that_of_an_earlier_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {"epochs": 10.0, "hardware": {"cuda_graphs": True}}
    words = "epochs=10", "hardware.cuda_graphs=true"
    assert name(*words, **given) == "epochs-10/seed-3"
    before = Path("outputs/train/epochs-10+hardware.cuda_graphs-True/seed-3")
    before.mkdir(parents=True)
    assert name(*words, **given) == "epochs-10+hardware.cuda_graphs-True/seed-3"
    assert name("epochs=10", epochs=10.0) == "epochs-10/seed-3"


def test_a_whole_name_is_the_overrides_in_the_order_of_the_name() -> None:
    shown = whole_name(["epochs=1e1", "seed=3", "+optimizer.gamma=0.1", "name=a", "optimizer=hj", "output_dir=x"])
    assert shown == "optimizer=hj +optimizer.gamma=0.1 epochs=1e1"


def test_without_overrides() -> None:
    assert name() == "default/seed-3"
    assert name("seed=3") == "default/seed-3"


@pytest.mark.parametrize("text", ["a b", "$HOME;ls", "x" * 300, "[1,2]", "münchen", "a/../../b", "'q'", "=="])
def test_only_characters_that_shells_and_hydra_leave_alone(text: str) -> None:
    shown, _, seed = name("tag=...", tag=text).rpartition("/")
    assert seed == "seed-3"
    assert re.fullmatch(r"[A-Za-z0-9._+-]+", shown)
    assert len(shown) <= LONGEST
    assert shown != name("tag=...", tag=text + "!").rpartition("/")[0]


def test_equal_values_written_differently_are_the_same_run() -> None:
    assert name("lr=1e-1", lr=0.1) == name("lr=0.1", lr=0.1)


def test_family() -> None:
    assert run_family(OmegaConf.create({"hydra": {"runtime": {"choices": {"experiment": "smoke"}}}})) == "smoke"
    assert run_family(OmegaConf.create({"hydra": {"runtime": {"choices": {"experiment": None}}}})) == "train"
