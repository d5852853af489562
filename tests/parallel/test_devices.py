"""hydra/launcher=devices, with devices that are pretended: each job sees one, no two at a time the same."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deeprelax.errors import Stopped, UserError
from deeprelax.parallel import devices, processes
from deeprelax.parallel.devices import Job, run_jobs, visible_devices

Command = Callable[..., tuple[int, str, str]]
NOTE = """
import json, os, sys, time
began = time.monotonic()
time.sleep(0.15)
device = os.environ["CUDA_VISIBLE_DEVICES"]
open(sys.argv[1], "w").write(json.dumps([device, began, time.monotonic()]))
"""


def job(number: int, folder: Path, code: str = NOTE) -> Job:
    return Job([f"seed={number}"], folder, [sys.executable, "-c", code, str(folder / f"{number}.json")])


def test_each_job_sees_a_device_that_no_other_has_at_that_time(tmp_path: Path) -> None:
    assert run_jobs([job(k, tmp_path) for k in range(6)], ["5", "GPU-ab"]) == []
    notes = [json.loads(file.read_text()) for file in tmp_path.glob("*.json")]
    assert len(notes) == 6
    for name in ("5", "GPU-ab"):
        spans = sorted((began, ended) for device, began, ended in notes if device == name)
        assert len(spans) >= 2
        assert all(ended <= began for (_, ended), (began, _) in itertools.pairwise(spans))
    first, second = (min(began for device, began, _ in notes if device == name) for name in ("5", "GPU-ab"))
    assert abs(first - second) < 0.15 + 2 * processes.POLL  # side by side, not one after the other


def test_a_job_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    bad = "import sys; print('noise', file=sys.stderr); sys.exit('deeprelax: optimizer.lr=-1 is out of range')"
    crash = "raise ValueError('a bug')"
    jobs = [job(0, tmp_path, bad), job(1, tmp_path, crash), job(2, tmp_path), job(3, tmp_path, "import os; os.abort()")]
    problems = {failed.overrides[0]: said for failed, said in run_jobs(jobs, ["0"])}
    assert problems == {
        "seed=0": "optimizer.lr=-1 is out of range",
        "seed=1": "ValueError: a bug",
        "seed=3": "status -6",
    }
    assert (tmp_path / "2.json").is_file()


def test_a_signal_is_passed_on_and_starts_no_more_jobs(tmp_path: Path) -> None:
    patient = """
import pathlib, signal, sys, time
def stop(*_): pathlib.Path(sys.argv[1]).write_text("stopped"); sys.exit(143)
signal.signal(signal.SIGTERM, stop)
pathlib.Path(sys.argv[1] + ".ready").write_text("")
time.sleep(60)
"""
    jobs = [job(0, tmp_path, patient), job(1, tmp_path, patient)]

    def interrupt() -> None:
        while not (tmp_path / "0.json.ready").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=interrupt).start()
    with pytest.raises(Stopped):
        run_jobs(jobs, ["0"])
    assert (tmp_path / "0.json").read_text() == "stopped"
    assert jobs[1].process is None


def test_without_gpus_one_sentence_says_so(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    status, out, err = deeprelax("train", "-m", "hydra/launcher=devices", "experiment=smoke", "seed=0,1")
    assert (status, out) == (1, "")
    assert err == (
        "deeprelax: hydra/launcher=devices needs GPUs, and there are none here: leave it out, "
        "or use hydra/launcher=joblib\n"
    )


def test_devices_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_devices() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-ab")
    assert visible_devices() == ["3", "GPU-ab"]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(UserError):
        visible_devices()


def test_jobs_are_the_sweeps_runs_in_the_sweeps_directories(
    deeprelax: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launched: list[Job] = []

    def run(jobs: list[Job], names: list[str]) -> list[tuple[Job, str]]:
        launched.extend(jobs)
        return [(jobs[-1], "a problem")]

    monkeypatch.setattr(devices, "visible_devices", lambda: ["0"])
    monkeypatch.setattr(devices, "run_jobs", run)
    folder = tmp_path / "my configs"
    (folder / "experiment").mkdir(parents=True)
    words = ["optimizer=sgd", "optimizer.lr=0.1,0.2", "output_dir=it's here"]
    quoted = [*words[:2], "output_dir='it\\'s here'"]
    status, _, err = deeprelax(
        "train", "--config-dir", str(folder), "-m", "hydra/launcher=devices", "+sweep=reproduce", "seed=4", *quoted
    )
    assert status == 1
    assert err.startswith("deeprelax: 1 of 2 jobs failed; the same command does what is missing:\n  ")
    assert err.endswith(": a problem\n")
    assert [str(each.directory) for each in launched] == [
        f"it's here/reproduce/mnist_lenet/optimizer-sgd+optimizer.lr-{lr}/seed-4" for lr in (0.1, 0.2)
    ]
    command = launched[0].command
    assert command[command.index("--config-dir") + 1] == str(folder)
    assert "hydra.mode=RUN" in command


@pytest.mark.slow
def test_a_sweep_on_two_pretended_devices(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "visible_devices", lambda: ["0", "1"])
    words = ["experiment=smoke", "epochs=1", "hardware.threads=1", "optimizer=sgd", "optimizer.lr=0.1,-1", "seed=0,1"]
    status, _, err = deeprelax("train", "-m", "hydra/launcher=devices", *words)
    assert status == 1
    assert "deeprelax: 2 of 4 jobs failed" in err
    assert err.count(": optimizer.lr=-1.0 is out of range: it must be a number >= 0 and at most 3.4e+38\n") == 2
    assert len(list(Path("outputs/smoke").rglob("result.json"))) == 2
