"""Test `deeprelax landscape`."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.quick import RUN

Command = Callable[..., tuple[int, str, str]]
LESS = ["dataset.train_size=64", "epochs=2"]


@pytest.fixture
def runs(deeprelax: Command) -> list[str]:
    """Three runs of LeNet, by seed."""
    for seed in "123":
        assert deeprelax(*RUN, *LESS, f"seed={seed}", "output_dir=o")[0] == 0
    return sorted(str(file.parent) for file in Path("o").rglob("result.json"))


def digests(folder: str) -> dict[str, str]:
    """Of all files but the landscapes."""
    files = [file for file in Path(folder).rglob("*") if file.is_file() and "landscape" not in file.name]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def arrays(file: str) -> dict[str, np.ndarray]:
    with np.load(file) as found:
        return dict(found)


def test_around_one_run(runs: list[str], deeprelax: Command) -> None:
    run, before = runs[0], digests(runs[0])
    state = torch.get_rng_state()
    status, out, err = deeprelax("landscape", run, "--points", "3")
    assert (status, err) == (0, "")
    loss = json.loads(Path(run, "result.json").read_text())["train_loss"]
    assert out.splitlines() == [
        *(f"{run}/landscape_{d}.png, .pdf, .npz" for d in ("1d", "2d")),
        f"train_loss at the weights of {run}: {loss:.6g}, as in result.json",
    ]
    line, plane = arrays(f"{run}/landscape_1d.npz"), arrays(f"{run}/landscape_2d.npz")
    assert float(line["loss"][1]) == float(plane["loss"][1, 1]) == loss  # to the bit
    assert line["axis_1"].tolist() == plane["axis_2"].tolist() == [-1, 0, 1]
    assert line["loss"].tolist() == plane["loss"][:, 1].tolist()  # the line is the plane's first axis
    assert plane["error"].shape == (3, 3)
    assert len(set(plane["loss"].reshape(-1).tolist())) == 9
    assert digests(run) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert Path(run, "landscape_2d.png").stat().st_size > 10_000
    again = deeprelax("landscape", run, "--points", "3")[1]
    assert again == out
    assert arrays(f"{run}/landscape_2d.npz")["loss"].tolist() == plane["loss"].tolist()
    assert deeprelax("landscape", run, "--points", "3", "--seed", "1")[0] == 0
    assert arrays(f"{run}/landscape_2d.npz")["loss"].tolist() != plane["loss"].tolist()


def test_fixed_statistics_and_the_test_set(runs: list[str], deeprelax: Command) -> None:
    Path("there").mkdir()
    words = ["landscape", runs[0], "--points", "3", "--span", "0.5", "--out", "there"]
    status, out, _ = deeprelax(*words, "--batch-norm", "fixed", "--split", "test", "hardware.threads=1")
    result = json.loads(Path(runs[0], "result.json").read_text())
    assert (status, out.splitlines()[-1]) == (
        0, f"test_loss at the weights of {runs[0]}: {result['test_loss']:.6g}, as in result.json",
    )  # fmt: skip
    fixed = arrays("there/landscape_1d.npz")
    assert deeprelax(*words, "--split", "test")[0] == 0
    estimated = arrays("there/landscape_1d.npz")
    assert fixed["loss"][1] == estimated["loss"][1]
    assert fixed["loss"][0] != estimated["loss"][0]
    assert fixed["axis_1"].tolist() == [-0.5, 0, 0.5]
    assert not list(Path(runs[0]).glob("landscape*"))


def test_around_the_mean_of_a_run(deeprelax: Command) -> None:
    assert deeprelax(*RUN, *LESS, "train.average=ema")[0] == 0
    run = str(next(Path("outputs").rglob("result.json")).parent)
    result = json.loads(Path(run, "result.json").read_text())
    status, out, err = deeprelax("landscape", run, "--points", "3", "--weights", "average")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == (
        f"train_loss at the weights of {run}: {result['train_loss_average']:.6g}, as in result.json"
    )
    assert result["train_loss_average"] != result["train_loss"]
    assert deeprelax("landscape", run, "--weights", "best")[::2] == (
        1, f"deeprelax: weights=best: {run} has none, for it was trained with train.keep=last: take last\n",
    )  # fmt: skip


def test_between_runs(runs: list[str], deeprelax: Command) -> None:
    status, out, err = deeprelax("landscape", *runs[:2], "--points", "5")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == f"{runs[0]}/landscape_line.png, .pdf, .npz"
    assert out.endswith("as in result.json\n")
    line = arrays(f"{runs[0]}/landscape_line.npz")
    losses = [json.loads(Path(run, "result.json").read_text())["train_loss"] for run in runs[:2]]
    ends = [line["axis_1"].tolist().index(t) for t in (0, 1)]
    assert float(line["loss"][ends[0]]) == losses[0]
    # the second run's weights on the first one's batches, which are of another order
    assert float(line["loss"][ends[1]]) == pytest.approx(losses[1], rel=0.2)
    assert line["mark_names"].tolist() == ["A", "B"]
    assert deeprelax("landscape", *runs, "--points", "3")[1] == f"{runs[0]}/landscape_plane.png, .pdf, .npz\n"
    assert arrays(f"{runs[0]}/landscape_plane.npz")["marks"].shape == (3, 2)


def test_the_way_of_a_run(runs: list[str], deeprelax: Command) -> None:
    run = runs[0]
    assert deeprelax("landscape", run, "--trajectory")[::2] == (
        1, f"deeprelax: {run} holds 1 checkpoint to draw a way through, and two are needed: copy checkpoint.pt there "
        "under other names (*.pt) while a run trains\n",
    )  # fmt: skip
    for epochs in ("1", "2"):  # a run that was copied on its way
        folder = f"o/{epochs}"
        assert deeprelax(*RUN, *LESS, "seed=1", f"epochs={epochs}", f"output_dir={folder}", "optimizer.lr=0.05")[0] == 0
    first, last = (next(Path(f"o/{epochs}").rglob("checkpoint.pt")) for epochs in "12")
    shutil.copy(first, last.with_name("one.pt"))
    Path(last.parent, "foreign.pt").write_bytes(b"something else")
    assert deeprelax("landscape", str(last.parent), "--trajectory", "--points", "3")[0] == 0
    found = arrays(str(last.with_name("landscape_trajectory.npz")))
    assert found["mark_names"].tolist() == ["0", "1", "2"]
    assert found["marks"][-1].tolist() == [0, 0]


def test_what_cannot_be_drawn_is_said_in_a_sentence(runs: list[str], deeprelax: Command) -> None:
    assert deeprelax(*RUN, *LESS, "seed=1", "output_dir=p", "model=mlp")[0] == 0
    other = str(next(Path("p").rglob("result.json")).parent)
    assert deeprelax(*RUN, "seed=1", "output_dir=q", "epochs=1")[0] == 0  # of other data
    data = str(next(Path("q").rglob("result.json")).parent)
    run = runs[0]
    for words, message in [
        (["nowhere"], "nowhere is not a directory: give the directory of a run"),
        ([run, "nowhere"], "nowhere is not the directory of a run that has reached a checkpoint: give one"),
        ([run, other], f"the network of {other} is not that of {run}: their weights have other shapes"),
        ([run, data], f"{data} and {run} were trained on other data: there is no loss for both"),
        ([run, run], f"A and B have the same weights: there is no line between them (A is {run}, B is {run})"),
        ([run, "--points", "4"], "--points 4 is out of range: it must be an odd integer from 3 to 501"),
        ([*runs[:2], "--points", "2"], "--points 2 is out of range: it must be an integer from 3 to 501"),
        ([*runs[:2], "--points", "5", "--span", "8"], "--points 5 are too few for --span 8, for both runs are among "
         "them: take --points 10 or more, or a smaller --span"),
        ([run, "--span", "0"], "--span 0 is out of range: it must be a number > 0, at most 1000"),
        ([run, "--seed", "-1"], "--seed -1 is out of range: it must be an integer >= 0"),
        ([run, "--out", "none"], "--out none is not a folder: make it first"),
        ([*runs, run], "landscape takes one to three run directories, not 4"),
        ([*runs, "--trajectory"], "--trajectory is of one run: give one directory"),
        ([run, "epochs=3"], "epochs cannot be set here: it may be data_dir, dataset.path, hardware.device, "
         "hardware.channels_last, hardware.precision, hardware.threads"),
    ]:  # fmt: skip
        assert deeprelax("landscape", *words)[::2] == (1, f"deeprelax: {message}\n")
