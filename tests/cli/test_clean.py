"""Test that input that is refused leaves no run, and what `deeprelax runs --clean` and `data --clean` delete."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deeprelax.data.sources.image_folder import load_image_folder
from deeprelax.files import sole_writer
from tests.data.fakes import write_images
from tests.hooks import spoil
from tests.quick import QUICK, RUN, directory
from tests.reporting.fakes import write_run

Command = Callable[..., tuple[int, str, str]]
FAILED = "2026-01-02 03:04:05,678 ERROR the disk is full\n"
REFUSED = {
    "dataset=image_folder dataset.path=nowhere": "is not a folder",
    "model=custom model.name=no_such_module:Net": "no_such_module",
    "init_from=nowhere": "init_from=nowhere is not there",
    "dataset.train_size=99999": "dataset.train_size=99999",
    "hardware.devices=2 hardware.device=cpu batch_size=31": "cannot be shared equally",
    "optimizer=lbfgs epochs=0.01": "epochs",
}


@pytest.mark.parametrize("given", REFUSED)
def test_what_is_refused_leaves_no_run(given: str, deeprelax: Command) -> None:
    status, _, err = deeprelax("train", *QUICK, *given.split())
    assert (status, err.count("\n")) == (1, 1)
    assert REFUSED[given] in err
    assert list(Path("outputs").rglob("*")) == []


def test_a_refused_continuation_leaves_no_copy_of_the_checkpoint(first: Path, deeprelax: Command) -> None:
    before = sorted(Path("first").rglob("*"))
    status, _, err = deeprelax("train", f"continue_from={first}", "epochs=6.01", "optimizer=heat", "output_dir=second")
    assert (status, "give a larger total" in err) == (1, True)
    assert list(Path("second").rglob("*")) == []
    assert sorted(Path("first").rglob("*")) == before


def test_an_earlier_run_and_files_of_others_stay_where_something_is_refused(deeprelax: Command) -> None:
    gone = [*RUN, "epochs=1", "dataset=image_folder", "dataset.path=pictures", "dataset.train_size=null"]
    write_images(Path("pictures"), size=(32, 32), per_class=20)
    assert deeprelax(*gone)[0] == 0
    run = directory()
    before = {file: file.read_bytes() for file in run.iterdir() if file.is_file() and file.name != ".lock"}
    shutil.rmtree("pictures")
    assert deeprelax(*gone, "force=true")[0] == 1
    assert {file: file.read_bytes() for file in before} == before
    (run.parent / "seed-1").mkdir()
    (run.parent / "seed-1" / "notes.txt").write_text("mine")
    assert deeprelax(*gone, "seed=1")[0] == 1
    assert [file.name for file in (run.parent / "seed-1").iterdir()] == ["notes.txt"]


def test_a_run_that_fails_in_training_stays_with_its_log(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, [2])
    assert deeprelax(*RUN)[0] == 1
    assert "not finite" in (directory() / "train.log").read_text()


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, Path]:
    """One run of each state, two of them failed: one with a checkpoint, one without."""
    folder = tmp_path / "outputs"
    made = {
        "finished": write_run(folder, "sgd", 0, 1.0),
        "stopped": write_run(folder, "sgd", 1, None),
        "failed": write_run(folder, "heat", 0, None, log=FAILED),
        "resumable": write_run(folder, "heat", 1, None, log=FAILED),
        "backed_up": write_run(folder, "heat", 2, None, log=FAILED),
        "running": write_run(folder, "heat", 3, None, log=FAILED),
        "alone": write_run(folder, "hj", 0, None, log=FAILED),
    }
    (made["resumable"] / "checkpoint.pt").write_bytes(b"...")
    (made["backed_up"] / ".replaced").mkdir()
    (made["failed"] / "notes.txt").write_text("mine")
    return made


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


@pytest.mark.parametrize("yes", [False, True])
def test_failed_runs_are_listed_and_deleted_if_the_answer_is_yes(
    yes: bool, runs: dict[str, Path], deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, "" if yes else "y\n")
    with sole_writer(runs["running"]):
        status, out, err = deeprelax("runs", "--clean", "failed", *["--yes"] * yes)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "Kept, as their commands resume from a checkpoint:"
    assert {line.strip() for line in lines[1:3]} == {
        str(runs[name].relative_to(Path.cwd())) for name in ("resumable", "backed_up")
    }
    assert sum(line.startswith("failed ") for line in lines) == 2
    assert ("Delete 2 failed runs? [y/N] " in out) == (not yes)
    assert lines[-1] == "deleted 2 failed runs"
    assert not runs["alone"].parent.exists()
    assert [file.name for file in runs["failed"].iterdir()] == ["notes.txt"]
    assert f"left, with what is not the run's: {runs['failed'].relative_to(Path.cwd())}" in out
    assert all((runs[name] / "config.yaml").exists() for name in ("finished", "stopped", "resumable", "running"))


@pytest.mark.parametrize(("text", "status"), [("n\n", 0), ("\n", 0), ("", 1)])
def test_without_a_yes_nothing_is_deleted(
    text: str, status: int, runs: dict[str, Path], deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, text)
    found, out, err = deeprelax("runs", "--clean", "failed")
    assert found == status
    assert "nothing is deleted" in (err if status else out)
    assert all((run / "config.yaml").exists() for run in runs.values())


def test_a_run_that_is_started_again_while_the_question_stands_is_kept(
    runs: dict[str, Path], deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(io.StringIO):
        def readline(self, size: int | None = -1) -> str:  # type: ignore[override]
            (runs["alone"] / "checkpoint.pt").write_bytes(b"...")
            return "y\n"

    monkeypatch.setattr("sys.stdin", Slow())
    status, out, _ = deeprelax("runs", "--clean", "failed")
    assert (status, out.splitlines()[-1]) == (0, "deleted 2 failed runs")
    assert f"kept, as it was started again: {runs['alone'].relative_to(Path.cwd())}" in out
    assert (runs["alone"] / "config.yaml").exists()


def test_what_clean_is_not_for(deeprelax: Command, tmp_path: Path) -> None:
    write_run(tmp_path / "outputs", "sgd", 0, 1.0)
    assert deeprelax("runs", "--clean", "failed")[:2] == (0, "no failed run to delete\n")
    assert deeprelax("runs", "--yes")[2] == "deeprelax: --yes goes with --clean failed: the list asks nothing\n"
    assert "invalid choice: 'finished'" in deeprelax("runs", "--clean", "finished")[2]


def test_the_cache_of_decoded_images_is_shown_and_emptied(
    deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "image_folder"
    assert deeprelax("data", "--clean")[:2] == (0, f"no decoded images in {folder}\n")
    assert not folder.exists()
    root = write_images(tmp_path / "mine")
    for size in (None, 6):
        load_image_folder(tmp_path / "data", size, path=str(root))
    (folder / "0123456789abcdef.pt.new").write_bytes(b"half of one")
    (folder / "mine.pt").write_bytes(b"of another program")
    line = f"decoded images: 3 files, 0.0 MB in {folder}"
    assert deeprelax("data")[1].splitlines()[-1] == f"{line} (--clean deletes them)"
    answer(monkeypatch, "no\n")
    status, out, _ = deeprelax("data", "--clean")
    assert (status, out.splitlines()[0], out.splitlines()[-1].endswith("nothing is deleted")) == (0, line, True)
    assert len(list(folder.glob("*.pt*"))) == 4
    assert deeprelax("data", "--clean", f"data_dir={tmp_path}/other", "--yes")[0] == 0
    assert deeprelax("data", "--clean", "--yes")[1].splitlines() == [line, "deleted"]
    assert list(folder.glob("*.pt*")) == [folder / "mine.pt"]
    assert sum(file.is_file() for file in root.rglob("*")) == 27
    assert len(load_image_folder(tmp_path / "data", path=str(root)).train) == 18
    assert "takes no name of a data set (mnist)" in deeprelax("data", "mnist", "--clean")[2]
    assert deeprelax("data", "--yes")[0] == 1
