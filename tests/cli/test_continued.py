"""What a command with `continue_from` leaves out is as in the run that it names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.quick import QUICK, RUN, directory

Command = Callable[..., tuple[int, str, str]]
ENTROPY = ["optimizer=entropy_sgd", "optimizer.inner_steps=3"]


def configuration(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text())
    return found


def test_what_is_not_given_is_as_in_the_run_that_is_continued(first: Path, deeprelax: Command) -> None:
    given = [f"continue_from={first}", "epochs=9", "output_dir=second"]
    assert deeprelax("train", *given, "optimizer.lr=0.02")[0] == 0
    there, here = configuration(first), configuration(directory("second"))
    own = {"continue_from": str(first), "epochs": 9.0, "output_dir": "second"}
    assert here == there | own | {"optimizer": there["optimizer"] | {"lr": 0.02}}
    assert directory("second").parent.name.startswith("optimizer.lr-0.02+epochs-9+continue_from-")


def test_a_choice_is_the_whole_group_with_its_defaults(first: Path, deeprelax: Command) -> None:
    assert deeprelax("train", f"continue_from={first}", "epochs=9", *ENTROPY, "output_dir=second")[0] == 0
    there, here = configuration(first), configuration(directory("second"))
    assert here["optimizer"]["name"] == "entropy_sgd"
    assert (here["optimizer"]["lr"], here["optimizer"]["momentum"], here["optimizer"]["inner_steps"]) == (1.0, 0.0, 3)
    other = {key for key in here if here[key] != there[key]}
    assert other == {"optimizer", "epochs", "continue_from", "output_dir"}
    assert directory("second").parent.name.startswith("optimizer-entropy_sgd+optimizer.inner_steps-3+epochs-9+continue")


def test_another_rule_has_its_own_rates(deeprelax: Command) -> None:
    assert deeprelax("train", *QUICK, *ENTROPY, "output_dir=first")[0] == 0
    given = [f"continue_from={directory('first')}", "epochs=9"]
    for rule, rates in (
        ("outer", {"lr": 1e-3}),
        ("inner", {"inner_lr": 1e-3, "inner_state": "keep", "temperature": 0.0}),
    ):
        status, out, err = deeprelax("train", *given, f"optimizer.{rule}=adamw", "--cfg", "job")
        assert (status, err) == (0, "")
        found = yaml.safe_load(out)["optimizer"]
        assert {key: found[key] for key in rates} == rates
        assert found["inner_steps"] == 3  # as in the run that is continued


def test_a_recipe_is_of_the_optimizer_alone_and_an_experiment_of_everything(first: Path, deeprelax: Command) -> None:
    def composed(*overrides: str) -> dict[str, Any]:
        status, out, err = deeprelax("train", f"continue_from={first}", "epochs=9", *overrides, "--cfg", "job")
        assert (status, err) == (0, "")
        found: dict[str, Any] = yaml.safe_load(out)
        return found

    there = configuration(first)
    assert composed()["optimizer"] == there["optimizer"]
    found = composed("recipe=mnist_lenet", "optimizer=heat")
    assert (found["optimizer"]["lr"], found["optimizer"]["sigma"]) == (0.2, 0.01)
    assert (found["batch_size"], found["schedule"]) == (32, there["schedule"])
    assert composed("recipe=mnist_lenet")["optimizer"] == there["optimizer"] | {"lr": 0.2}
    assert composed("experiment=mnist_lenet")["batch_size"] == 128
    cosine = {"name": "cosine", "milestones": [], "factor": 1e-3, "warmup": 0.0, "decay": None, "of": "lr"}
    assert composed("schedule=cosine")["schedule"] == cosine
    assert composed("task=classification")["batch_size"] == 32


def test_keys_of_the_other_runs_choice_without_naming_it(deeprelax: Command) -> None:
    assert deeprelax("train", *QUICK, "epochs=1", "optimizer=heat", "output_dir=first")[0] == 0
    again = ["train", f"continue_from={directory('first')}", "optimizer.sigma=0.05", "epochs=2"]
    assert deeprelax(*again, "output_dir=second")[0] == 0
    assert configuration(directory("second"))["optimizer"]["sigma"] == 0.05
    assert deeprelax(*again, "-m", "output_dir=swept")[0] == 0
    status, _, err = deeprelax("train", "continue_from=nowhere", "optimizer.sigma=0.05", "epochs=2")
    assert (status, err) == (
        1, "deeprelax: continue_from=nowhere is not the directory of a run: give the one that the run printed\n"
    )  # fmt: skip


def test_sweeps_continue_the_run_of_each_seed(deeprelax: Command) -> None:
    assert deeprelax(*RUN, "-m", "seed=0,1", "epochs=1", "output_dir=first")[0] == 0
    above = next(Path("first").rglob("seed-0")).parent
    run = ["train", "-m", f"continue_from={above}", "epochs=2"]
    assert deeprelax(*run, "seed=0,1", "optimizer=adamw,heat", "output_dir=second")[0] == 0
    found = [configuration(file.parent) for file in Path("second").rglob("result.json")]
    assert {(conf["optimizer"]["name"], conf["seed"]) for conf in found} == {
        (name, seed) for name in ("adamw", "heat") for seed in (0, 1)
    }
    assert {conf["batch_size"] for conf in found} == {32}
    # there is no seed 2: the other one runs
    status, _, err = deeprelax(*run, "seed=1,2", "optimizer=adamw", "output_dir=third")
    assert status == 1
    assert err.startswith("deeprelax: 1 of 2 jobs failed")
    assert "holds no run of seed 2: train that first, or leave the seed out" in err
    assert len(list(Path("third").rglob("result.json"))) == 1


def test_a_seed_that_was_not_trained_is_named(first: Path, deeprelax: Command) -> None:
    status, _, err = deeprelax("train", f"continue_from={first.parent}", "epochs=9", "seed=7")
    said = f"deeprelax: continue_from={first.parent} holds no run of seed 7: train that first, or leave the seed out\n"
    assert (status, err) == (1, said)
