"""Test the names of run directories."""

from __future__ import annotations

import re

import pytest
from omegaconf import OmegaConf

from deeprelax.configuration.run_name import LONGEST, run_family, run_name


def name(*overrides: str, choices: dict[str, str] | None = None, **values: object) -> str:
    root = OmegaConf.create(
        {
            "seed": 3,
            **values,
            "hydra": {"overrides": {"task": list(overrides)}, "runtime": {"choices": choices or {}}},
        }
    )
    return run_name(root)


def test_shows_overrides_sorted_with_their_resolved_values_and_leaves_out_what_has_no_effect() -> None:
    shown = name(
        "train.bn_batches=5", "optimizer=hj", "+epochs=1e1",
        "seed=3", "data_dir=/x", "hardware.threads=2", "force=true",
        choices={"optimizer": "hj"}, epochs=10.0, train={"bn_batches": 5},
    )  # fmt: skip
    assert shown == "epochs-10+optimizer-hj+train.bn_batches-5/seed-3"


def test_a_long_path_leaves_room_for_what_else_was_given() -> None:
    given = ["continue_from=...", "optimizer=hj", "epochs=9"]
    here, there = (
        name(*given, choices={"optimizer": "hj"}, epochs=9, continue_from=f"/{folder * 40}/train/optimizer-sgd")
        for folder in ("here", "there")
    )
    assert here.startswith("epochs-9+optimizer-hj+continue_from-train_optimizer-sgd-")
    assert here != there
    short = name("continue_from=...", "epochs=9", epochs=9, continue_from="runs/a")
    assert re.fullmatch(r"continue_from-runs_a\+epochs-9-[0-9a-f]{8}/seed-3", short)


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
