"""The rates as functions of the passes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deeprelax.optim import SGD, EntropySGD, Lookahead
from deeprelax.records import checkpoint
from deeprelax.training.schedules import OF_THE_TOTAL, make_schedule, set_rates
from tests.quick import QUICK, directory

Command = Callable[..., tuple[int, str, str]]
CHAIN = ["train", *QUICK, "optimizer=entropy_sgd", "optimizer.inner_steps=3", "train.record_every=0.1"]


def test_schedules() -> None:
    step = make_schedule("step", [2.0, 4.0], 0.1, 5)
    assert [step(p) for p in (0, 1.99, 2, 3.9, 4)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    cosine = make_schedule("cosine", [], 0.1, 10)
    assert [cosine(p) for p in (0, 5, 10, 12)] == pytest.approx([1, 0.55, 0.1, 0.1])
    assert make_schedule("constant", [], 1.0, 10)(7) == 1
    linear = make_schedule("linear", [], 0.2, 10)
    assert [linear(p) for p in (0, 2.5, 10, 12)] == pytest.approx([1, 0.8, 0.2, 0.2])
    trapezoid = make_schedule("trapezoid", [], 0.0, 10)  # its tail is a fifth
    assert [trapezoid(p) for p in (0, 8, 9, 9.5, 10, 11)] == pytest.approx([1, 1, 0.5, 0.25, 0, 0])
    trapezoid = make_schedule("trapezoid", [], 0.5, 10, decay=5.0)
    assert [trapezoid(p) for p in (5, 7.5, 10)] == pytest.approx([1, 0.75, 0.5])


def test_those_that_there_were_are_as_they_were_bit_for_bit() -> None:
    """Published runs had these formulas."""
    for k in range(120):
        passes = k * 128 / 1437
        before = 1e-3 + (1 - 1e-3) * (1 + math.cos(math.pi * min(passes / 10, 1))) / 2
        assert make_schedule("cosine", [], 1e-3, 10)(passes) == before
        power = math.prod(0.2 for milestone in (2.0, 4.0, 7.0) if passes >= milestone)
        assert make_schedule("step", [2.0, 4.0, 7.0], 0.2, 10)(passes) == power


@pytest.mark.parametrize("name", ["constant", "step", *OF_THE_TOTAL])
def test_a_warm_up_rises_to_the_whole_rate_and_the_rest_of_the_passes_is_the_schedules(name: str) -> None:
    """Steps of half a pass, of which the first four are the warm-up: at no step is the rate 0."""
    plain = make_schedule(name, [4.0], 0.1, 8)
    warmed = make_schedule(name, [4.0], 0.1, 10, warmup=2.0, step=0.5)
    assert [warmed(p) for p in (0, 0.5, 1, 1.5)] == pytest.approx([0.25, 0.5, 0.75, 1])
    assert [warmed(p) for p in (0.0, 2.0)] == pytest.approx([0.25, 1])
    if name in ("cosine", "linear"):
        assert [warmed(2 + p) for p in (0, 3, 8)] == pytest.approx([plain(p) for p in (0, 3, 8)])
    if name == "step":  # its milestones are passes of the run
        assert [warmed(p) for p in (3.9, 4)] == pytest.approx([1, 0.1])
    if name == "trapezoid":
        assert [warmed(p) for p in (8, 9, 10)] == pytest.approx([1, 0.55, 0.1])


def test_rates_are_relative_to_the_initial_ones_of_each_group() -> None:
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = SGD([{"params": [a]}, {"params": [b], "lr": 0.4}], lr=0.2)
    for factor in (0.5, 0.1):
        set_rates(optimizer, factor)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.2 * factor, 0.4 * factor])
    chain = EntropySGD([{"params": [a]}, {"params": [b], "inner_lr": 0.3}], lr=0.7, inner_lr=0.1)
    set_rates(chain, 0.5, "inner_lr")
    assert [(group["lr"], group["inner_lr"]) for group in chain.param_groups] == [(0.7, 0.05), (0.7, 0.15)]
    assert chain.scalars()["inner_lr"] == 0.05
    lookahead = Lookahead([a], inner_lr=0.1)
    set_rates(lookahead, 0.5, "inner_lr")
    assert lookahead.scalars() == {"lr": 0.8, "inner_lr": 0.05}
    set_rates(chain, 0.1, "both")
    assert chain.param_groups[1]["lr"] == pytest.approx(0.07)
    assert chain.param_groups[1]["inner_lr"] == pytest.approx(0.03)


def rates(root: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (directory(root) / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == "train"]


def test_a_run_moves_the_rate_of_its_chain_and_records_it(deeprelax: Command) -> None:
    """12 outer steps of 3 gradients, of 32 of 200 images each: 0.48 passes a step, and four of them are the warm-up."""
    given = [*CHAIN, "schedule=linear", "schedule.warmup=1.92", "schedule.of=inner_lr"]
    assert deeprelax(*given, "output_dir=inner")[0] == 0
    found = rates("inner")
    assert {line["lr"] for line in found} == {1.0}
    passes = [0.48 * k for k in range(12)]
    expected = [0.1 * (p + 0.48) / 1.92 if p < 1.92 else 0.1 * (1 - (p - 1.92) / (6 - 1.92)) for p in passes]
    assert [line["inner_lr"] for line in found] == pytest.approx(expected)
    assert deeprelax(*given, "schedule.of=both", "output_dir=both")[0] == 0
    assert [line["lr"] for line in rates("both")] == pytest.approx([10 * rate for rate in expected])
    state = checkpoint.load(directory("both") / checkpoint.NAME)["optimizer"]["param_groups"][0]
    assert (state["initial_lr"], state["initial_inner_lr"]) == (1.0, 0.1)
    assert deeprelax(*CHAIN, "output_dir=plain")[0] == 0
    assert all("inner_lr" not in line for line in rates("plain"))


def test_a_new_part_begins_with_its_own_rates(deeprelax: Command) -> None:
    assert deeprelax(*CHAIN, "schedule=linear", "schedule.of=both", "output_dir=first")[0] == 0
    more = ["train", f"continue_from={directory('first')}", "epochs=9", "schedule=constant", "output_dir=second"]
    assert deeprelax(*more)[0] == 0
    assert {line["lr"] for line in rates("second")[-3:]} == {1.0}
    (group,) = checkpoint.load(directory("second") / checkpoint.NAME)["optimizer"]["param_groups"]
    assert (group["lr"], group["inner_lr"]) == (1.0, 0.1)


def test_what_does_nothing_is_refused_or_said(deeprelax: Command, tmp_path: Path, monkeypatch: Any) -> None:
    sgd = ["train", *QUICK, "optimizer=sgd", "epochs=1"]
    for given, message in [
        (["schedule.of=inner_lr"], "schedule.of=inner_lr moves the rate of a chain, inner_lr, which optimizer=sgd"),
        (["schedule=linear", "schedule.decay=1"], "schedule.decay does nothing with schedule.name=linear"),
        (["schedule.warmup=-1"], "schedule.warmup=-1.0 is out of range: it must be a number of passes from 0"),
    ]:
        status, _, err = deeprelax(*sgd, *given)
        assert (status, err.count("\n")) == (1, 1), err
        assert message in err
    (tmp_path / "mine.py").write_text("from deeprelax.optim import SGD\nclass Mine(SGD):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = ["optimizer=custom", "optimizer.name=mine:Mine", "schedule.of=both"]
    assert "schedule.of=both: mine:Mine has no inner_lr: leave it out" in deeprelax(*sgd[:-2], *own)[2]
    for number, (given, message) in enumerate(
        [
            (["schedule.warmup=2"], "schedule.warmup=2 ends beyond epochs=1: the lr never reaches its value"),
            (
                ["schedule=trapezoid", "schedule.warmup=0.9"],
                "schedule.warmup=0.9 and a decay of 0.2 passes end beyond epochs=1: the lr never reaches its value",
            ),
            (["schedule=trapezoid", "schedule.decay=3"], "schedule.decay=3 is more than there are, epochs=1: lower it"),
            (["schedule.warmup=0.1"], "schedule.warmup=0.1 does nothing: the first outer step alone takes 0.16 passes"),
        ]
    ):
        status, out, _ = deeprelax(*sgd, *given, f"output_dir={number}")
        assert status == 0
        assert message in out
