"""force=true deletes nothing too early, and nothing that is not the run's."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from deeprelax.records.directory import BACKUP, RunDirectory
from deeprelax.training.objective import Objective
from tests.hooks import before, interrupt_at, spoil
from tests.quick import RUN, train

Compose = Callable[..., DictConfig]


def test_force_removes_what_a_run_has_written_and_nothing_else(compose: Compose, tmp_path: Path) -> None:
    for name in ("thesis.tex", "rank-list.log", "rank-1.log"):
        (tmp_path / name).write_text("mine")
    train(compose, tmp_path, "epochs=1", "optimizer=sgd")
    train(compose, tmp_path, "epochs=1", "optimizer=sgd", "force=true")
    for name in ("thesis.tex", "rank-list.log"):
        assert (tmp_path / name).read_text() == "mine"
    assert not (tmp_path / "rank-1.log").exists()  # of an earlier run on two ranks


Command = Callable[..., tuple[int, str, str]]


def full_disk(objective: Objective) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_command_that_resumes_restarts_nothing(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 20)
        status, _, err = deeprelax(*RUN, "force=true", "train.checkpoint_every=1")
    assert status == 130
    assert "to resume: deeprelax train " in err
    assert "force" not in err
    with monkeypatch.context() as patch:
        before(patch, 20, full_disk)
        err = deeprelax(*RUN, "force=true")[2]
    assert err.endswith("the same command resumes (without force=true, which starts again)\n")
    with monkeypatch.context() as patch:
        spoil(patch)
        err = deeprelax(*RUN, "force=true")[2]
    assert "not finite" in err
    assert "force" not in err


@pytest.mark.parametrize(
    "mistake", ["hardware.device=cuda", "batch_size=1", "continue_from=nowhere", "data_dir=/nowhere"]
)
def test_force_deletes_nothing_before_the_new_run_has_a_checkpoint(mistake: str, deeprelax: Command) -> None:
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


def test_a_forced_run_that_is_killed_twice_deletes_nothing(deeprelax: Command) -> None:
    """What SIGKILL leaves: the files of the finished run aside, and those of the new one, without a checkpoint."""
    run = [*RUN, "hydra.run.dir=here", "epochs=1"]
    assert deeprelax(*run)[0] == 0
    before = (Path("here") / "result.json").read_bytes()
    RunDirectory(Path("here")).move_to(RunDirectory(Path("here") / BACKUP))
    for name in ("config.yaml", "train.log"):
        (Path("here") / name).write_text("of the killed run")
    assert deeprelax(*run, "force=true", "batch_size=1")[0] == 1
    assert (Path("here") / "result.json").read_bytes() == before
    assert not (Path("here") / BACKUP).exists()
    assert deeprelax(*run)[1].count("finished before") == 1


def test_what_was_replaced_goes_when_the_new_run_goes_on_after_a_kill(
    deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL after the first checkpoint leaves the earlier run aside; the run that resumes deletes it."""
    run, here = [*RUN, "hydra.run.dir=here", "train.checkpoint_every=1"], Path("here")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 20)
        assert deeprelax(*run)[0] == 130
    (here / BACKUP).mkdir()
    (here / BACKUP / "result.json").write_text("of the earlier run")
    assert "resuming from pass" in deeprelax(*run)[1]
    assert not (here / BACKUP).exists()


def test_a_run_that_is_restored_is_not_taken_for_the_one_that_is_refused(deeprelax: Command) -> None:
    """SIGKILL between the two: the earlier run, which had failed at its start, is aside, and nothing in its place."""
    here = Path("here")
    (here / BACKUP).mkdir(parents=True)
    for name in ("config.yaml", "train.log"):
        (here / BACKUP / name).write_text("of the earlier run")
    assert deeprelax(*RUN, "hydra.run.dir=here", "epochs=1", "force=true", "dataset.train_size=99999")[0] == 1
    assert {file.name: file.read_text() for file in here.iterdir() if file.name != ".lock"} == dict.fromkeys(
        ("config.yaml", "train.log"), "of the earlier run"
    )


def test_a_job_that_torchrun_starts_again_resumes_and_another_one_replaces(
    deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchrun does not count the restart for a machine that has come or gone: the job's name tells."""
    run = [*RUN, "force=true", "train.checkpoint_every=1", "hydra.run.dir=here"]
    assert deeprelax(*run, "epochs=1")[0] == 0
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "first")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)  # before its checkpoint: the earlier run is back
        assert deeprelax(*run)[0] == 130
    assert (Path("here") / "result.json").exists()
    with monkeypatch.context() as patch:
        interrupt_at(patch, 20)
        assert deeprelax(*run)[0] == 130
    assert not (Path("here") / "result.json").exists()
    status, out, _ = deeprelax(*run)
    assert (status, "resuming from pass" in out) == (0, True)
    status, out, _ = deeprelax(*run)
    assert (status, "finished before" in out) == (0, True)
    assert "force=true: a restart, for --rdzv-id=first has replaced the run before; another id restarts it" in out
    assert "(force=true starts it again)" not in out
    for name in ("second", "none", "none"):  # torchrun's name for a job without one
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", name)
        out = deeprelax(*run)[1]
        assert ("resuming" in out, "finished before" in out) == (False, False)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert "finished before" in deeprelax(*run)[1]
