"""Two ranks on gloo, one thread each: how they end, and how they resume."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deeprelax.errors import UserError
from deeprelax.parallel import launch
from deeprelax.records import checkpoint
from tests.quick import QUICK, start, wait_for

Command = Callable[..., tuple[int, str, str]]
TWO = [*QUICK, "hardware.devices=2"]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("victim", ["rank 1", pytest.param("parent", marks=pytest.mark.slow)])
def test_a_killed_process_ends_all_and_the_run_resumes_bit_for_bit(victim: str, deeprelax: Command) -> None:
    run = [*TWO, "epochs=12", "optimizer.inner_steps=3", "train.checkpoint_every=0.3", "train.evaluate_every=100"]
    process = start(*run)
    checkpoints = Path("outputs").rglob
    wait_for(lambda: list(checkpoints("checkpoint.pt")))
    ranks = children(process.pid)
    assert len(ranks) == 2
    os.kill(ranks[1] if victim == "rank 1" else process.pid, signal.SIGKILL)
    began = time.monotonic()
    _, err = process.communicate(timeout=15)
    if victim == "rank 1":
        assert process.returncode == 1
        assert "deeprelax: rank 1 was killed by SIGKILL: the same command resumes from the last checkpoint" in err
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in ranks), seconds=15)
    assert time.monotonic() - began < 15
    (saved,) = checkpoints("checkpoint.pt")
    assert not (saved.parent / "result.json").exists()
    assert 0 < checkpoint.load(saved)["evaluations"] < 75
    status, out, _ = deeprelax("train", *run)
    assert status == 0
    assert "resuming from pass" in out
    assert deeprelax("train", *run, "output_dir=whole")[0] == 0
    (whole,) = Path("whole").rglob("checkpoint.pt")
    a, b = checkpoint.load(saved)["model"], checkpoint.load(whole)["model"]
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("kind", ["user", pytest.param("her own", marks=pytest.mark.slow)])
def test_a_rank_that_raises_ends_the_run_with_its_error(
    kind: str, deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text(
        "import os, torch\n"
        "from deeprelax.errors import UserError\n"
        "class Net(torch.nn.Linear):\n"
        "    def __init__(self, channels, image_size, classes, kind):\n"
        "        super().__init__(image_size**2, classes)\n"
        "        self.calls, self.kind = 0, kind\n"
        "    def forward(self, x):\n"
        "        self.calls += 1\n"
        "        if os.environ['RANK'] == '1' and self.calls == 5:\n"
        "            raise UserError('mend your data') if self.kind == 'user' else KeyError('her own')\n"
        "        return super().forward(x.flatten(1))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    own = ["model=custom", "model.name=broken:Net", "epochs=20", f"model.options.kind='{kind}'"]
    status, _, err = deeprelax("train", *TWO, *own)
    if kind == "user":
        assert (status, err) == (1, "deeprelax: mend your data\n")
    else:  # an error in a class of hers has its traceback
        assert status == 1
        assert re.search(r"(?s)rank 1 failed:.*broken.py.*KeyError: 'her own'", err), err


@pytest.mark.slow
def test_torchrun_joins_its_group_and_resuming_elsewhere_is_said(deeprelax: Command) -> None:
    run = [*QUICK, "epochs=4", "optimizer=hj"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "deeprelax"]
    done = subprocess.run([*torchrun, "train", *run], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run directory") == 1
    assert deeprelax("train", *TWO, *run, "output_dir=ours")[0] == 0
    results = [json.loads(next(Path(root).rglob("result.json")).read_text()) for root in ("outputs", "ours")]
    assert results[0]["ranks"] == results[1]["ranks"] == 2
    assert results[0]["test_loss"] == results[1]["test_loss"]
    next(Path("outputs").rglob("result.json")).unlink()
    assert "1 ranks, not 2 as before: no longer bit for bit the same run" in deeprelax("train", *run)[1]


def test_a_taken_port_is_said_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(taken.getsockname()[1])}
        process = start(*QUICK, **place)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot meet its peers at 127.0.0.1:" in err.splitlines()[-1]
    assert "is the port taken?" in err.splitlines()[-1]


def test_a_signal_other_than_ours_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rank 0 was killed by SIGSEGV"):
        launch.launch([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"], 1)
    with pytest.raises(UserError, match=r"the ranks ended with status \[3\]"):
        launch.launch([sys.executable, "-c", "raise SystemExit(3)"], 1)


@pytest.mark.slow
def test_torchrun_restarts_and_the_run_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mortal.py").write_text(
        "import os, torch\n"
        "class Net(torch.nn.Linear):\n"
        "    def __init__(self, channels, image_size, classes):\n"
        "        super().__init__(image_size**2, classes)\n"
        "        self.calls = 0\n"
        "    def forward(self, x):\n"
        "        self.calls += 1\n"
        "        if self.calls == 40 and os.environ['RANK'] + os.environ['TORCHELASTIC_RESTART_COUNT'] == '10':\n"
        "            os._exit(7)\n"
        "        return super().forward(x.flatten(1))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    run = [*QUICK, "epochs=10", "optimizer=sgd", "model=custom", "model.name=mortal:Net"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--max-restarts=1"]
    for force in ("false", "true"):  # force=true restarts at the first start only
        command = [*torchrun, "-m", "deeprelax", "train", *run, "train.checkpoint_every=1", f"force={force}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150)
        assert done.returncode == 0, done.stderr
        assert "resuming from pass" in done.stdout
        assert len(list(Path("outputs").rglob("result.json"))) == 1
