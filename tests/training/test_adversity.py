"""What an adversary would try: signals at bad moments, force without a cause, weights that overflow, damaged files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from deeprelax.parallel import signals
from deeprelax.records import checkpoint, provenance
from deeprelax.runs.run import REPLACED, _move
from deeprelax.training import evaluation
from deeprelax.training.guard import Guard
from tests.data.fakes import write_images
from tests.hooks import before, interrupt_at, spoil

from .test_kill import assert_same
from .test_runs import QUICK

Command = Callable[..., tuple[int, str, str]]
RUN = ["train", *QUICK, "optimizer=sgd", "hardware.device=cpu"]


def directory(root: str = "outputs") -> Path:
    (file,) = Path(root).rglob("config.yaml")
    return file.parent


def signal_in_evaluation(patch: pytest.MonkeyPatch, number: int, at_chunk: int) -> None:
    """Send this process a signal when a chunk of images is about to be scored, counted over the whole run."""
    original, chunks = evaluation._sums, iter(range(10**6))

    def sums(*arguments: Any) -> torch.Tensor:
        if next(chunks) == at_chunk:
            os.kill(os.getpid(), number)
        return original(*arguments)

    patch.setattr(evaluation, "_sums", sums)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_last_evaluation_lets_the_job_finish_and_ends_the_sweep(
    number: int, deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_in_evaluation(monkeypatch, number, 0)
    status, _, err = deeprelax(*RUN, "-m", "seed=0,1,2", "epochs=1")
    assert status == 128 + number
    assert f"stopped by {signal.Signals(number).name}; to go on: deeprelax train " in err
    assert [file.parent.name for file in Path("outputs").rglob("result.json")] == ["seed-0"]


@pytest.mark.parametrize("at_chunk", [0, 1])
def test_an_evaluation_is_given_up_for_a_stop_and_made_when_the_run_goes_on(
    at_chunk: int, deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = [*RUN, "train.evaluate_every=3", "dataset.validation=50", "dataset.train_size=100"]
    monkeypatch.setattr(evaluation, "CHUNK", 100)
    with monkeypatch.context() as patch:
        patch.setattr(signals, "PATIENCE", 0.0)
        signal_in_evaluation(patch, signal.SIGTERM, at_chunk)
        assert deeprelax(*run)[0] == 143
    saved = checkpoint.load(directory() / checkpoint.NAME)
    assert saved["unevaluated"]
    assert saved["scores"] == {}
    assert deeprelax(*run)[0] == 0
    assert deeprelax(*run, "output_dir=whole")[0] == 0
    assert_same(directory(), directory("whole"))


def test_a_stop_asked_for_before_an_evaluation_does_not_wait_for_it(
    deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        before(patch, 36, lambda objective: os.kill(os.getpid(), signal.SIGTERM))  # in the last step
        assert deeprelax(*RUN)[0] == 143
    assert checkpoint.load(directory() / checkpoint.NAME)["unevaluated"]
    assert not (directory() / "result.json").exists()
    assert deeprelax(*RUN)[0] == 0
    assert deeprelax(*RUN, "output_dir=whole")[0] == 0
    assert_same(directory(), directory("whole"))


def test_the_command_that_goes_on_starts_nothing_anew(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 20)
        status, _, err = deeprelax(*RUN, "force=true", "train.checkpoint_every=1")
    assert status == 130
    assert "to go on: deeprelax train " in err
    assert "force" not in err
    with monkeypatch.context() as patch:
        spoil(patch)
        patch.setattr(Guard, "_advice", lambda self: "the same command")
        err = deeprelax(*RUN, "force=true")[2]
    assert err.endswith(" (without force=true, which starts anew)\n")


@pytest.mark.parametrize(
    "mistake", ["hardware.device=cuda", "batch_size=1", "continue_from=nowhere", "data_dir=/nowhere"]
)
def test_force_takes_nothing_away_before_the_new_run_has_a_checkpoint(mistake: str, deeprelax: Command) -> None:
    if mistake == "hardware.device=cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    place = ["hydra.run.dir=here"]
    assert deeprelax(*RUN, *place, "epochs=1")[0] == 0
    before = {file: file.read_bytes() for file in sorted(Path("here").rglob("*")) if file.is_file()}
    mistakes = [mistake, "dataset=mnist"] if "data_dir" in mistake else [mistake]
    status, _, err = deeprelax(*RUN, *place, "epochs=1", "force=true", *mistakes)
    assert (status, "Traceback" in err) == (1, False)
    after = {file: file.read_bytes() for file in sorted(Path("here").rglob("*")) if file.is_file()}
    assert before == {file: content for file, content in after.items() if file in before}
    assert {file.name for file in after.keys() - before.keys()} == set()


def test_a_forced_run_that_is_killed_twice_takes_nothing_away(deeprelax: Command) -> None:
    """What SIGKILL leaves: the files of the finished run aside, and those of the new one, without a checkpoint."""
    run = [*RUN, "hydra.run.dir=here", "epochs=1"]
    assert deeprelax(*run)[0] == 0
    before = (Path("here") / "result.json").read_bytes()
    _move(Path("here"), Path("here") / REPLACED)
    for name in ("config.yaml", "train.log"):
        (Path("here") / name).write_text("of the killed run")
    assert deeprelax(*run, "force=true", "batch_size=1")[0] == 1
    assert (Path("here") / "result.json").read_bytes() == before
    assert not (Path("here") / REPLACED).exists()
    assert deeprelax(*run)[1].count("finished before") == 1


def test_a_run_cannot_continue_from_itself(deeprelax: Command) -> None:
    assert deeprelax(*RUN, "hydra.run.dir=here", "epochs=1")[0] == 0
    command = [*RUN, "hydra.run.dir=here", "epochs=2", "continue_from=here", "force=true"]
    assert "is not the directory of a run" in deeprelax(*command)[2]
    assert (Path("here") / "result.json").is_file()


@pytest.mark.parametrize("overrides", [["optimizer.lr=1e38", "epochs=0.5"], ["optimizer.lr=1e20", "epochs=1.5"]])
def test_weights_or_scores_that_are_not_finite_are_written_nowhere(overrides: list[str], deeprelax: Command) -> None:
    status, _, err = deeprelax(*RUN, *overrides, "train.evaluate_every=0.5", "train.record_every=0.1")
    assert (status, err.count("deeprelax: ")) == (1, 1)
    assert "not finite (lr 1e+" in err
    assert err.endswith("lower optimizer.lr\n")
    assert not (directory() / "result.json").exists()
    for name in (checkpoint.NAME, checkpoint.PREVIOUS):
        if (directory() / name).exists():
            assert all(torch.isfinite(t).all() for t in checkpoint.load(directory() / name)["model"].values())
    assert "NaN" not in (directory() / "metrics.jsonl").read_text()


def test_a_step_that_is_left_out_leaves_no_statistics(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[dict[str, Any]] = []
    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda folder, state: (saved.append(state), save(folder, state)))
    spoil(monkeypatch, [10], layer=lambda objective: next(objective.model.children()))  # before the batch norm
    run = [*RUN, "train.on_nonfinite=skip", "train.checkpoint_every=0.1"]
    assert deeprelax(*run)[0] == 0
    assert json.loads((directory() / "result.json").read_text())["skipped_steps"] == 1
    for state in saved:
        assert all(torch.isfinite(t).all() for t in state["model"].values())


def test_other_test_images_are_noticed_on_resume(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(Path("folder"))
    run = [*RUN, "dataset=image_folder", "dataset.path=folder", "dataset.train_size=null", "train.checkpoint_every=1"]
    run += ["dataset.image_size=28", "batch_size=4"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        assert deeprelax(*run)[0] == 130
    sorted(file for file in (Path("folder") / "test").rglob("*") if file.is_file())[0].unlink()
    status, _, err = deeprelax(*run)
    assert status == 1
    assert "the data are not those that " in err


OWN = """
import sys, torch
def net(channels, image_size, classes, trouble):
    if trouble == "exit":
        sys.exit(3)
    if trouble == "error":
        raise KeyError("mine")
    if trouble == "memory":
        torch.empty(10**15)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(image_size**2, classes))
"""


def test_whatever_a_job_raises_the_others_run_and_the_table_names_it(
    deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = [*RUN, "model=custom", "model.name=own:net", "epochs=1"]
    status, _, err = deeprelax(*run, "-m", "model.options.trouble=error,exit,memory,none")
    assert status == 1
    assert "deeprelax: 3 of 4 jobs failed; the same command does what is missing:\n" in err
    assert "trouble=error: KeyError: 'mine' (log: " in err
    assert "trouble=exit: SystemExit: 3 (log: " in err
    assert "trouble=memory: not enough memory (" in err
    assert len(list(Path("outputs").rglob("result.json"))) == 1
    (log,) = Path("outputs").rglob("*trouble-error*/seed-0/train.log")
    assert "KeyError: 'mine'" in log.read_text().splitlines()[-1]


def test_what_changes_on_resume_and_a_schedule_that_never_acts_are_told(
    deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = [*RUN, "schedule=step", "schedule.milestones=[50,60]", "schedule.factor=0.1", "train.checkpoint_every=1"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 20)
        status, out, _ = deeprelax(*run)
    assert status == 130
    assert "schedule.milestones begin at 50, beyond epochs=6: the lr never changes" in out
    assert "2 threads, not 1 as before: no longer bit for bit the same run" in deeprelax(*run, "hardware.threads=2")[1]
    torch.set_num_threads(1)


def test_a_run_names_the_commit_of_its_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = Path(provenance.__file__).parents[2]
    head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.returncode:
        pytest.skip("not a git checkout")
    found = provenance.commit()
    assert found is not None
    assert found.rstrip("+") == head.stdout.strip()
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "deeprelax" / "records" / "provenance.py"))
    assert provenance.commit() is None
