"""A full disk, a folder that cannot be written, a data file that has gone: one sentence, and nothing is corrupt."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deeprelax.records import checkpoint
from tests.data.fakes import write_images, write_mnist
from tests.hooks import before, interrupt_at
from tests.quick import RUN as QUICK_RUN
from tests.quick import assert_same, directory

Command = Callable[..., tuple[int, str, str]]
RUN = [*QUICK_RUN, "train.checkpoint_every=1"]


def interrupted(deeprelax: Command, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Path:
    """The directory of a run that has got half-way."""
    with monkeypatch.context() as patch:
        interrupt_at(patch, 20)
        assert deeprelax(*RUN, *arguments)[0] == 130
    (file,) = Path("outputs").rglob(checkpoint.NAME)
    return file.parent


def on_a_full_disk(free: int, *arguments: str) -> tuple[int, str]:
    """The command in a process whose files can have so many bytes; its exit status and what it says of errors."""
    done = subprocess.run(
        [sys.executable, "-m", "deeprelax", *arguments], capture_output=True, text=True, timeout=100,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (free, free)), env=os.environ.copy(),
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("free", "file"), [(100_000, "/checkpoint.pt"), pytest.param(100, "/config.yaml", marks=pytest.mark.slow)]
)
def test_a_full_disk(free: int, file: str, deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    run = interrupted(deeprelax, monkeypatch)
    before = {name: (run / name).read_bytes() for name in (checkpoint.NAME, checkpoint.PREVIOUS)}
    status, err = on_a_full_disk(free, *RUN)
    assert status == 1
    assert f"deeprelax: {run.absolute()}{file}: File too large. What was written before is whole" in err
    assert "Traceback" not in err
    assert before == {name: (run / name).read_bytes() for name in before}
    assert deeprelax(*RUN)[0] == 0
    assert deeprelax(*RUN, "output_dir=whole")[0] == 0
    assert_same(run, directory("whole"))


@pytest.mark.parametrize("place", ["/proc/outputs", "file", "locked"])
def test_outputs_that_cannot_be_written(place: str, deeprelax: Command) -> None:
    Path("file").write_text("mine")
    Path("locked").mkdir(mode=0o555)
    if place == "locked" and os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    for sweep in ([], ["-m"]):
        status, _, err = deeprelax(*RUN[:1], *sweep, *RUN[1:], f"output_dir={place}")
        assert (status, err.count("\n")) == (1, 1)
        assert place in err
    assert Path("file").read_text() == "mine"


def test_a_data_file_that_has_gone(deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path / "data", monkeypatch)
    run = interrupted(deeprelax, monkeypatch, "dataset=mnist", "dataset.train_size=null")
    before = (run / checkpoint.NAME).read_bytes()
    file = tmp_path / "data" / "MNIST" / "raw" / "train-images-idx3-ubyte"
    content = file.read_bytes()
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    for damage in (None, content[:-7], bytes([content[0] ^ 4]) + content[1:]):
        file.unlink() if damage is None else file.write_bytes(damage)
        status, _, err = deeprelax(*RUN, "dataset=mnist", "dataset.train_size=null")
        assert (status, err.count("\n")) == (1, 1)
        assert str(file) in err
        assert (run / checkpoint.NAME).read_bytes() == before
    file.write_bytes(content)
    status, out, _ = deeprelax(*RUN, "dataset=mnist", "dataset.train_size=null")
    assert status == 0
    assert "resuming from pass" in out


def test_files_that_go_in_mid_run_are_needed_again_at_the_next_start_only(
    deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_images(Path("mine"), size=(32, 32), per_class=20).absolute()
    own = ["dataset=image_folder", f"dataset.path={folder}", "dataset.train_size=null", "epochs=20"]
    before(monkeypatch, 10, lambda objective: folder.rename("elsewhere"))
    assert deeprelax(*RUN, *own)[0] == 0
    next(Path("outputs").rglob("result.json")).unlink()
    status, _, err = deeprelax(*RUN, *own)
    assert (status, err.count("\n")) == (1, 1)
    assert f"{folder} is not a folder: dataset.path must hold train/<class>/" in err
    Path("elsewhere").rename(folder)
    assert deeprelax(*RUN, *own)[0] == 0
