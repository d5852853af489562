"""The rules of an optimizer on the command line: their own defaults, and presets that are of other rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.quick import QUICK, directory

Command = Callable[..., tuple[int, str, str]]
RECIPE = ["recipe=mnist_lenet", "optimizer=heat"]  # its preset has lr 0.2 and sigma 0.01


def composed(deeprelax: Command, *overrides: str) -> dict[str, object]:
    status, out, err = deeprelax("train", *overrides, "--cfg", "job")
    assert (status, err) == (0, "")
    found: dict[str, object] = yaml.safe_load(out)["optimizer"]
    return found


@pytest.mark.parametrize(
    ("overrides", "values"),
    [
        (["optimizer=entropy_sgd"], (1.0, 0.1, "1e-08", 0.0, "reset")),
        (["optimizer=entropy_sgd", "optimizer.outer=adamw"], (0.001, 0.1, "1e-08", 0.0, "reset")),
        (["optimizer=entropy_sgd", "optimizer.inner=adamw"], (1.0, 0.001, 0.0, 0.0, "keep")),
        (["optimizer=entropy_sgd", "optimizer.inner=adamw", "optimizer.inner_lr=0.02", "optimizer.lr=null"],
         (1.0, 0.02, 0.0, 0.0, "keep")),
        (["optimizer=entropy_sgd", "optimizer.inner_state=keep"], (1.0, 0.1, "1e-08", 0.0, "keep")),
        (["optimizer=hj"], (0.1, None, None, 0.9, None)),
        (["optimizer=hj", "optimizer.outer=adamw"], (0.001, None, None, 0.0, None)),
        (["optimizer=hj_proximal"], (1.0, 0.1, None, 0.0, "reset")),
        (["optimizer=heat"], (0.1, None, None, 0.9, None)),
        (["optimizer=pde_relaxed", "optimizer.outer=adamw"], (0.001, None, "1e-06", 0.0, None)),
    ],
)  # fmt: skip
def test_null_is_the_default_of_the_rule(overrides: list[str], values: tuple[object, ...], deeprelax: Command) -> None:
    found = composed(deeprelax, *overrides)
    keys = ("lr", "inner_lr", "temperature", "momentum", "inner_state")
    assert tuple(str(v) if (v := found.get(key)) in (1e-8, 1e-6) else v for key in keys) == tuple(
        str(v) if v in ("1e-08", "1e-06") else v for v in values
    )


def test_a_preset_of_other_rules_is_not_applied(deeprelax: Command, tmp_path: Path) -> None:
    applied = composed(deeprelax, *RECIPE)
    assert (applied["lr"], applied["sigma"], applied["momentum"]) == (0.2, 0.01, 0.9)
    assert composed(deeprelax, *RECIPE, "optimizer.outer=momentum") == applied
    other = composed(deeprelax, *RECIPE, "optimizer.outer=adamw")
    assert (other["lr"], other["sigma"], other["momentum"]) == (0.001, 0.02, 0.0)
    own = composed(deeprelax, *RECIPE, "optimizer.outer=adamw", "optimizer.sigma=0.05")
    assert own["sigma"] == 0.05
    # a preset of one's own, for AdamW, is of its own rules
    folder = tmp_path / "mine" / "preset" / "mine"
    folder.mkdir(parents=True)
    (folder / "heat.yaml").write_text("# @package _global_\noptimizer:\n  outer: adamw\n  lr: 0.003\n")
    (tmp_path / "mine" / "recipe").mkdir()
    (tmp_path / "mine" / "recipe" / "mine.yaml").write_text("# @package _global_\nepochs: 2\n")
    mine = ["--config-dir", str(tmp_path / "mine"), "recipe=mine", "optimizer=heat"]
    assert composed(deeprelax, *mine)["lr"] == 0.003
    assert composed(deeprelax, *mine, "optimizer.outer=adamw")["lr"] == 0.003
    assert composed(deeprelax, *mine, "optimizer.outer=momentum")["lr"] == 0.1


def test_the_log_says_so_in_a_run_and_in_a_sweep(deeprelax: Command) -> None:
    line = "preset mnist_lenet/heat was chosen for other rules than outer=adamw, inner=momentum: not applied, "
    run = ["train", *QUICK, *RECIPE, "epochs=1"]
    status, out, err = deeprelax(*run, "-m", "optimizer.outer=momentum,adamw")
    assert (status, err) == (0, "")
    assert out.count(line) == 1
    stored = {
        file.parent.parent.name.rpartition("optimizer.outer-")[2].partition("+")[0]: yaml.safe_load(file.read_text())
        for file in Path("outputs").rglob("config.yaml")
    }
    assert {rule: conf["optimizer"]["lr"] for rule, conf in stored.items()} == {"momentum": 0.2, "adamw": 0.001}
    assert line not in deeprelax(*run, "output_dir=alone")[1]


def test_a_run_is_named_by_what_was_written(deeprelax: Command) -> None:
    """Not by what the preset would have been, nor by what null stands for."""
    status, _, err = deeprelax("train", *QUICK, *RECIPE, "epochs=1", "optimizer.outer=adamw")
    assert (status, err) == (0, "")
    name = directory().parent.name
    assert "optimizer.outer-adamw" in name
    assert not {"preset", "lr-", "momentum-"} & {part for part in ("preset", "lr-", "momentum-") if part in name}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["weight_decay=0.1", "decoupled_weight_decay=0.1"],
         "optimizer.weight_decay and decoupled_weight_decay exclude each other: set one of them to 0"),
        (["inner=adamw", "temperature=1e-8"], "optimizer.temperature must be 0 with inner=adamw: a chain whose steps"),
        (["outer=adamw", "momentum=0.9"], "optimizer.momentum is of outer=momentum, and outer=adamw has betas[0]"),
    ],
)  # fmt: skip
def test_what_excludes_each_other(overrides: list[str], message: str, deeprelax: Command) -> None:
    status, out, err = deeprelax("train", "optimizer=entropy_sgd", *(f"optimizer.{each}" for each in overrides))
    assert (status, out) == (1, "")
    assert err.startswith(f"deeprelax: {message}")
    assert err.count("\n") == 1
    assert not any(Path("outputs").iterdir())


@pytest.mark.slow
def test_kept_chains_on_another_number_of_ranks(deeprelax: Command) -> None:
    run = ["train", *QUICK, "optimizer=entropy_sgd", "optimizer.inner=adamw", "optimizer.inner_steps=3"]
    run += ["hardware.share=chains"]
    assert deeprelax(*run, "epochs=2", "hardware.devices=2", "output_dir=two")[0] == 0
    two = directory("two")
    status, out, err = deeprelax(*run, "epochs=3", f"continue_from={two}", "hardware.devices=1", "output_dir=one")
    assert status == 0
    assert "optimizer.inner_state=keep: rank r takes what the chain of rank r modulo 2 kept" in out + err
    assert deeprelax(*run, "epochs=3", f"continue_from={two}", "hardware.devices=2", "output_dir=again")[0] == 0
    assert deeprelax(*run, "epochs=3", "hardware.devices=2", "output_dir=whole")[0] == 0
    for key in ("test_error", "test_loss", "train_loss"):
        a, b = (yaml.safe_load((directory(root) / "result.json").read_text())[key] for root in ("again", "whole"))
        assert a == b
