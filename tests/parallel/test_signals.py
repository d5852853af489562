"""A run that is asked to stop leaves a checkpoint at the end of its step and says how to resume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deeprelax.errors import Stopped
from deeprelax.parallel.launch import _raise_first_error
from deeprelax.records import checkpoint
from tests.quick import LONGER, assert_same, finish, start, wait_for

SLOW_NET = """
import time, torch
class Net(torch.nn.Sequential):
    def __init__(self, channels, image_size, classes, seconds):
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(image_size**2, classes), torch.nn.BatchNorm1d(classes))
        self.seconds = seconds
    def forward(self, x):
        time.sleep(self.seconds)
        return super().forward(x)
"""

SLOW_SAVE = """
from deeprelax.records import checkpoint
save = checkpoint.save
def slow(*arguments):
    time.sleep(7)  # more than a rank that has failed alone waits for the others
    save(*arguments)
checkpoint.save = slow
"""


def reached(root: str) -> list[Path]:
    return list(Path(root).rglob(checkpoint.NAME))


@pytest.mark.parametrize(
    ("number", "devices"),
    [
        (signal.SIGTERM, 1),
        pytest.param(signal.SIGTERM, 2, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 2, marks=pytest.mark.slow),
    ],
)
def test_finishes_the_step_writes_a_checkpoint_and_resumes_bit_for_bit(number: signal.Signals, devices: int) -> None:
    run = [*LONGER, "optimizer=entropy_sgd", "optimizer.inner_steps=5", f"hardware.devices={devices}"]
    process = start(*run, "output_dir=stopped")
    wait_for(lambda: reached("stopped"), process)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    (line,) = [line for line in err.splitlines() if line.startswith("deeprelax: ")]
    assert line.startswith(f"deeprelax: stopped by {number.name}; to resume: deeprelax train ")
    (saved,) = reached("stopped")
    assert checkpoint.load(saved)["evaluations"] % 5 == 0
    assert_same(finish(*run, "output_dir=stopped"), finish(*run, "output_dir=whole"))


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True])
def test_a_long_step_is_aborted_and_a_second_signal_ends_at_once(
    again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow.py").write_text(SLOW_NET)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    own = [*LONGER, "model=custom", "model.name=slow:Net", "model.options.seconds=0.5", "optimizer.inner_steps=100"]
    process = start(*own, "output_dir=slow")
    wait_for(lambda: list(Path("slow").rglob("metrics.jsonl")), process)
    time.sleep(1.5)  # in the midst of the first outer step, which takes 50 seconds
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    if again:
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    if again:
        assert time.monotonic() - began < 3
        assert not reached("slow")
    else:
        assert 4 < time.monotonic() - began < 15
        state = checkpoint.load(reached("slow")[0])
        assert (state["evaluations"], state["outer_steps"]) == (0, 0)
        assert state["model"]["2.num_batches_tracked"] == 0


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("number", "whom"), [(signal.SIGTERM, "torchrun"), (signal.SIGUSR1, "one rank")])
def test_under_torchrun(number: signal.Signals, whom: str) -> None:
    run = [*LONGER, "optimizer=entropy_sgd", "optimizer.inner_steps=5", "epochs=40", "output_dir=stopped"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "deeprelax"]
    process = subprocess.Popen(
        [*torchrun, "train", *run], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ.copy()
    )
    wait_for(lambda: reached("stopped"), process)
    ranks = [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert len(ranks) == 2
    os.kill(process.pid if whom == "torchrun" else ranks[1], number)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert f"stopped by {number.name}; to resume: deeprelax train " in err
    (saved,) = reached("stopped")
    state = checkpoint.load(saved)
    assert state["evaluations"] % 5 == 0
    assert state["evaluations"] < 500
    assert not (saved.parent / "result.json").exists()
    assert subprocess.run([*torchrun, "train", *run], capture_output=True, timeout=200).returncode == 0
    whole = finish(*run[:-1], "hardware.devices=2", "output_dir=whole")
    assert_same(saved.parent, whole)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_under_torchrun_nobody_leaves_before_a_slow_checkpoint_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else torchrun would take those who left for failed ones, and end the main rank while it writes."""
    (tmp_path / "slow.py").write_text(SLOW_NET + SLOW_SAVE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    run = [*LONGER, "model=custom", "model.name=slow:Net", "model.options.seconds=0.02", "optimizer=sgd", "epochs=400"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "deeprelax"]
    once = ["train.checkpoint_every=400", "train.checkpoint_seconds=9999", "output_dir=stopped"]
    process = subprocess.Popen(
        [*torchrun, "train", *run, *once], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: list(Path("stopped").rglob("metrics.jsonl")), process, 200)
    for rank in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(rank), signal.SIGUSR1)
    _, err = process.communicate(timeout=120)
    assert "stopped by SIGUSR1; to resume: deeprelax train " in err
    (saved,) = reached("stopped")
    assert checkpoint.load(saved)["evaluations"] > 0


@pytest.mark.slow
def test_slurms_signal_to_one_process() -> None:
    run = [*LONGER, "optimizer=hj", "optimizer.inner_steps=5", "epochs=40"]
    process = start(*run, "output_dir=stopped")
    wait_for(lambda: reached("stopped"), process)
    process.send_signal(signal.SIGUSR1)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGUSR1
    assert "deeprelax: stopped by SIGUSR1; to resume: deeprelax train " in err
    assert_same(finish(*run, "output_dir=stopped"), finish(*run, "output_dir=whole"))


@pytest.mark.slow
def test_of_two_identical_commands_one_runs_and_the_other_names_it() -> None:
    run = [*LONGER, "optimizer=hj", "optimizer.inner_steps=5", "epochs=40", "output_dir=both"]
    first = start(*run)
    wait_for(lambda: list(Path("both").rglob("config.yaml")), first)
    second = start(*run)
    _, err = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"is being written by process {first.pid} on " in err
    first.communicate(timeout=120)
    assert first.returncode == 0
    assert len(list(Path("both").rglob("result.json"))) == 1


@pytest.mark.parametrize(
    ("codes", "asked", "number"), [([143, 143], None, 15), ([143, 0], None, 15), ([0, 143], 2, 15)]
)
def test_ranks_that_were_stopped_stop_the_whole(
    codes: list[int], asked: int | None, number: int, tmp_path: Path
) -> None:
    """Also if one of them had done its part when the signal came."""
    with pytest.raises(Stopped) as stopped:
        _raise_first_error(codes, tmp_path, asked)
    assert stopped.value.status == 128 + number
    _raise_first_error([0, 0], tmp_path, None)
