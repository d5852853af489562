"""`continue_from`: a longer run from a finished one."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch

from deeprelax.records import checkpoint
from tests.quick import QUICK, directory, scalars

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("optimizer", ["sgd", "entropy_sgd"])
def test_continued_weights_are_those_of_one_long_run(optimizer: str, deeprelax: Command) -> None:
    run = ["train", *QUICK, f"optimizer={optimizer}", "schedule=step", "schedule.milestones=[3,7]"]
    run += ["schedule.factor=0.3", "train.evaluate_every=3", "train.record_every=1"]
    run += ["optimizer.inner_steps=3"] if optimizer == "entropy_sgd" else []
    assert deeprelax(*run, "output_dir=short")[0] == 0
    short = directory("short")
    before = {file.name: file.read_bytes() for file in short.iterdir() if file.is_file()}
    status, out, _ = deeprelax(*run, "epochs=9", f"continue_from={short}", "output_dir=longer")
    assert status == 0
    assert "of a run of 6, as one run of 9 would" in out
    assert deeprelax(*run, "epochs=9", "output_dir=long")[0] == 0
    longer, long = directory("longer"), directory("long")
    a, b = (checkpoint.load(run / checkpoint.NAME) for run in (longer, long))
    assert all(torch.equal(value, b["model"][key]) for key, value in a["model"].items())
    assert a["evaluations"] == b["evaluations"]
    results = [json.loads((run / "result.json").read_text()) for run in (longer, long)]
    assert results[0]["test_loss"] == results[1]["test_loss"]
    assert (longer / "metrics.jsonl").read_bytes().startswith(before["metrics.jsonl"])
    curves = [scalars(run / "tensorboard")["test/error"] for run in (longer, short, long)]
    assert curves[0] == sorted({*curves[1], *curves[2]})  # with the evaluation at the end of the short run
    assert before == {file.name: file.read_bytes() for file in short.iterdir() if file.is_file()}


def test_what_a_longer_run_means_for_a_schedule_of_the_total(deeprelax: Command) -> None:
    run = ["train", *QUICK, "optimizer=sgd", "schedule=cosine", "schedule.factor=0"]
    assert deeprelax(*run, "epochs=1", "output_dir=a")[0] == 0
    above = directory("a").parent  # the directory above the seeds' will do
    status, out, _ = deeprelax(*run, "epochs=2", f"continue_from={above}", "output_dir=b")
    assert status == 0
    assert (
        "of a run of 1: schedule=cosine depends on the total, so the lr resumes at 0.5 times its initial value" in out
    )
    assert "where that run had come down to 0; not the same as one run of 2" in out


def test_what_cannot_be_continued_is_said_in_a_sentence(deeprelax: Command) -> None:
    run = ["train", *QUICK, "optimizer=sgd", "epochs=1"]
    assert deeprelax(*run, "output_dir=a")[0] == 0
    done = directory("a")
    for arguments, message in [
        (["epochs=2", "continue_from=nowhere"], "continue_from=nowhere is not the directory of a run"),
        (["epochs=1", f"continue_from={done}"], "has done 1: give the new total"),
        (
            ["epochs=2", "batch_size=16", f"continue_from={done}"],
            "batch_size is 32 there and 16 here): only epochs, opt",
        ),
        (["epochs=2", "seed=1", f"continue_from={done}"], "seed is 0 there and 1 here): only epochs, optimizer, sched"),
        (["epochs=2", "continue_from="], "it must be the directory of a finished run"),
    ]:
        status, _, err = deeprelax(*run, *arguments, "output_dir=b")
        assert (status, err.count("\n")) == (1, 1)
        assert message in err
    (done / "result.json").unlink()
    status, _, err = deeprelax(*run, "epochs=2", f"continue_from={done}", "output_dir=b")
    assert status == 1
    assert err.endswith("is not finished: its own command finishes it\n")


def test_a_checkpoint_of_another_configuration_is_refused(deeprelax: Command) -> None:
    run = ["train", *QUICK, "optimizer=sgd", "epochs=1"]
    assert deeprelax(*run, "output_dir=a")[0] == 0
    done = directory("a")
    state = checkpoint.load(done / checkpoint.NAME)
    state["configuration"]["batch_size"] = 64
    checkpoint.save(done, state)
    (done / "result.json").unlink()
    status, _, err = deeprelax(*run, "output_dir=a")
    assert status == 1
    assert err.endswith("is of another configuration: batch_size is 64 there and 32 here\n")
