"""Test `deeprelax data` and `deeprelax runs`."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deeprelax import tasks
from deeprelax.files import sole_writer
from tests.data.fakes import write_cifar, write_mnist
from tests.reporting.fakes import record, write_fit, write_run

Command = Callable[..., tuple[int, str, str]]


def test_data_lists_every_data_set_and_whether_it_is_there(
    deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mnist(tmp_path / "data", monkeypatch)
    status, out, _ = deeprelax("data")
    assert status == 0
    rows = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert set(rows) == {"digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "image_folder"}
    assert re.search(rf"60000 \+ 10000 +28x28 grey +10 +there +{tmp_path}/data/MNIST/raw$", rows["mnist"])
    assert re.search(r"50000 \+ 10000 +32x32 colour +100 +169 MB to download", rows["cifar100"])
    assert "embedded" in rows["digits"]


def test_data_fetches_and_checks_by_name(deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path / "elsewhere", monkeypatch)
    status, out, _ = deeprelax("data", "cifar10", "digits", f"data_dir={tmp_path / 'elsewhere'}")
    assert status == 0
    assert "cifar10: 100 + 20 images in 10 classes, whole\ndigits: 1437 + 360 images in 10 classes, whole\n" in out
    status, _, err = deeprelax("data", "cifar")
    assert status == 1
    assert err.startswith("deeprelax: cifar is not a data set (did you mean cifar10?): one of digits, ")


def test_tasks_lists_networks_scores_and_experiments(deeprelax: Command) -> None:
    status, out, _ = deeprelax("tasks")
    assert status == 0
    rows = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert set(rows) == {*tasks.CHOICES, "custom"}
    assert re.search(r"lenet +error +cifar10_wrn_16_4, .*mnist_lenet", rows["classification"])
    assert re.search(
        r"mlp_field +relative_l2, residual, initial, boundary +pinn_burgers, pinn_convection", rows["pinn"]
    )
    assert re.search(r"factor +error", rows["matrix_sensing"])
    status, out, _ = deeprelax("tasks", "pinn")
    assert status == 0
    assert "  task.equation: heat         # heat, convection, reaction" in out
    status, _, err = deeprelax("tasks", "pin")
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("deeprelax: pin is not a task (did you mean pinn?): one of ")
    assert deeprelax("tasks", "pinn", "diagonal")[0] == 1


def test_runs_lists_finished_running_and_stopped_ones(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = ["experiment=smoke", "hardware.threads=1", "epochs=1"]
    assert deeprelax("runs")[2].startswith("deeprelax: outputs is not a folder")
    deeprelax("train", *quick, "optimizer=sgd")
    stopped = Path("outputs/smoke/stopped/seed-0")
    stopped.mkdir(parents=True)
    shutil.copy("outputs/smoke/optimizer-sgd+epochs-1/seed-0/config.yaml", stopped)
    (stopped / "metrics.jsonl").write_text(json.dumps(record(50, 7.125)) + '\n{"kind": "tra')
    status, out, _ = deeprelax("runs")
    assert status == 0
    assert re.search(r"^finished +\d+\.\d\d +0\.96  outputs/smoke/optimizer-sgd\+epochs-1/seed-0$", out, re.MULTILINE)
    assert re.search(r"^stopped +7\.12 +2\.5  outputs/smoke/stopped/seed-0$", out, re.MULTILINE)
    (stopped / "train.log").write_text("2026-01-02 03:04:05,678 ERROR the disk is full\n")
    assert re.search(r"^failed +7\.12 .*\n +the disk is full$", deeprelax("runs")[1], re.MULTILINE)
    with sole_writer(stopped):
        assert re.search(r"^running +7\.12", deeprelax("runs", "outputs/smoke")[1], re.MULTILINE)


def test_runs_shows_each_tasks_first_score(deeprelax: Command, tmp_path: Path) -> None:
    write_fit(tmp_path / "fits", "sgd", 0, 0.51234)
    write_fit(tmp_path / "fits", "heat", 0, None)
    (write_fit(tmp_path / "fits", "hj", 0, None, records=[]) / "provenance.json").unlink()
    out = deeprelax("runs", "fits")[1]
    assert re.search(r"^state +r2  passes  run$", out, re.MULTILINE)
    assert re.search(r"^finished  0\.512 +2  fits/sgd", out, re.MULTILINE)
    assert re.search(r"^stopped +0\.750 +2  fits/heat", out, re.MULTILINE)
    assert re.search(r"^stopped  {10,}fits/hj", out, re.MULTILINE)
    write_run(tmp_path / "images", "sgd", 0, 7.125)
    assert re.search(r"^state +error %  passes  run\nfinished +7\.12 +4  images/", deeprelax("runs", "images")[1])
    out = deeprelax("runs", "fits", "images")[1]
    assert re.search(r"^state +score  passes  run$", out, re.MULTILINE)
    assert re.search(r"^finished +r2 0\.512 +2  fits/sgd", out, re.MULTILINE)
    assert re.search(r"^finished +error 7\.12 % +4  images/sgd", out, re.MULTILINE)
