"""Runs that end by patience: within their budget, continued, on one rank and on two."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.quick import RUN, assert_same, directory, finish, kill_after
from tests.runs.beside import HELD_OUT, result

Command = Callable[..., tuple[int, str, str]]
STILL = [*RUN, HELD_OUT, "train.evaluate_every=1", "optimizer.lr=1e-12", "train.patience=2"]  # evaluations 7, 13, 19


def test_patience_ends_a_run_which_is_finished_within_its_budget(deeprelax: Command) -> None:
    status, out, err = deeprelax(*STILL, "-m", "seed=0,1")
    assert (status, err) == (0, "")
    told = "validation error no better than at pass 1.12: the run ends here (train.patience=2)\n"
    assert out.count(told) == 2
    assert out.count("  19 gradient evaluations (stopped early)  ") == 2
    assert deeprelax(*STILL, "-m", "seed=0,1")[1].count("finished before: test error ") == 2
    assert [line.split()[0] for line in deeprelax("runs")[1].splitlines()] == ["state", "finished", "finished"]
    (run,) = {file.parent for file in Path("outputs").rglob("result.json") if file.parent.name == "seed-0"}
    numbers = json.loads((run / "result.json").read_text())
    assert (numbers["budget"], numbers["gradient_evaluations"], numbers["stopped_early"]) == (37, 19, True)
    (run / "result.json").unlink()  # killed between the last checkpoint and the result
    assert told not in deeprelax(*STILL)[1]
    again = json.loads((run / "result.json").read_text())
    assert {**again, "seconds": 0, "images_per_second": 0} == {**numbers, "seconds": 0, "images_per_second": 0}
    assert deeprelax(*RUN, HELD_OUT, "-m", "seed=0,1", "train.evaluate_every=1")[0] == 0
    status, out, _ = deeprelax("compare", "outputs")
    assert status == 0
    assert "2 of 2 runs stopped early (train.patience), after 51.4 % of the budget's gradient" in " ".join(out.split())
    assert "not comparable" not in out
    assert "(!)" not in out


def test_a_run_that_patience_ended_can_be_continued(deeprelax: Command) -> None:
    assert deeprelax(*STILL, "output_dir=early")[0] == 0
    early = directory("early")
    status, out, _ = deeprelax(*STILL, f"continue_from={early}", "output_dir=again")
    assert status == 0
    assert "the run ends here (train.patience=2)" in out  # it begins again: 13 gradients from 19 on
    assert (result("again")["gradient_evaluations"], result("again")["best_gradient_evaluations"]) == (32, 7)
    assert deeprelax(*STILL, f"continue_from={early}", "train.patience=null", "output_dir=all")[0] == 0
    assert result("all")["gradient_evaluations"] == 37
    assert "stopped_early" not in result("all")
    status, _, err = deeprelax(*STILL, f"continue_from={early}", "epochs=5", "output_dir=less")
    assert (status, err.count("\n")) == (1, 1)
    assert "has done 6: give the new total" in err


def test_patience_that_ends_with_the_budget_ends_nothing_early(deeprelax: Command) -> None:
    last = [*STILL, "epochs=3.1"]  # 19 gradient evaluations, and the third evaluation
    status, out, _ = deeprelax(*last, "output_dir=spent")
    assert (status, "stopped early" in out) == (0, False)
    assert (result("spent")["gradient_evaluations"], result("spent")["stopped_early"]) == (19, False)
    more = [f"continue_from={directory('spent')}", "output_dir=again", "train.keep=best"]
    for early in (False, True):  # as older versions wrote it
        file = directory("spent") / "result.json"
        file.write_text(json.dumps({**result("spent"), "stopped_early": early}))
        status, _, err = deeprelax(*last, *more)
        assert (status, err.count("\n")) == (1, 1)
        assert "has done 3.1: give the new total" in err


def test_a_longer_run_that_has_no_further_step_has_no_best_evaluation(deeprelax: Command) -> None:
    assert deeprelax(*STILL, "train.patience=null", "output_dir=plain")[0] == 0
    more = ["epochs=6.05", f"continue_from={directory('plain')}", "train.average=ema", "output_dir=more"]
    status, out, err = deeprelax(*STILL, "train.keep=best", *more)
    assert (status, err) == (0, "")
    assert "train.average=ema has no mean: the run ended before anything was averaged\n" in out
    assert result("more")["gradient_evaluations"] == 37
    assert not {"test_error_best", "stopped_early"} & result("more").keys()


def test_a_mean_that_patience_left_empty_is_told(deeprelax: Command) -> None:
    status, out, _ = deeprelax(*STILL, "train.average=swa")
    assert status == 0
    assert "train.average=swa has no mean: the run ended before anything was averaged\n" in out
    assert "test_error_average" not in result("outputs")


@pytest.mark.slow
def test_two_ranks_agree_on_when_patience_ends(deeprelax: Command) -> None:
    whole = finish(*STILL[1:], "hardware.devices=2", "train.average=ema", "output_dir=whole")
    assert (result("whole")["gradient_evaluations"], result("whole")["ranks"]) == (19, 2)
    kill_after(0.1, *STILL[1:], "hardware.devices=2", "train.average=ema", "output_dir=killed")
    assert_same(finish(*STILL[1:], "hardware.devices=2", "train.average=ema", "output_dir=killed"), whole)
