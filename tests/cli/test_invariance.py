"""Test both commands on two runs of one function: filters before batch norm scaled in the checkpoint of a copy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deeprelax.records import checkpoint
from tests.quick import RUN, directory

Command = Callable[..., tuple[int, str, str]]


def test_filters_before_batch_norm_scaled_by_ten(deeprelax: Command) -> None:
    """The landscape, and what the table calls invariant, stay to 1e-4; all else does not.

    LeNet's convolutions go to batch norm through ReLU and pooling, which keep a positive factor. Its eps is 1e-5, which
    counts beside the small variance of some filters here: so all are scaled from 10 to 100 times what they were.
    """
    assert deeprelax(*RUN, "dataset.train_size=64", "epochs=2")[0] == 0
    run, found = directory(), []
    folders = [Path("ten"), Path("hundred")]
    for folder, factor in zip(folders, (10, 100), strict=True):
        shutil.copytree(run, folder)
        state = checkpoint.load(folder / checkpoint.NAME)
        for name in ("0.weight", "0.bias", "5.weight", "5.bias"):
            state["model"][name] *= factor
        del state["format"]  # which it is saved with
        checkpoint.save(folder, state)
        words = [str(folder), "--images", "40", "--top", "1", "--only", "sharpness,hessian"]
        status, out, err = deeprelax("flatness", *words)
        assert (status, err) == (0, "")
        assert sum(line.endswith(", invariant") for line in out.splitlines()) == 4
        found.append(json.loads((folder / "flatness.json").read_text()))
        assert deeprelax("landscape", str(folder), "--points", "3")[0] == 0
    before, after = found
    assert after["loss"] == pytest.approx(before["loss"], rel=1e-4)
    for kind, each in before["sharpness"].items():
        stays = after["sharpness"][kind]["value"] == pytest.approx(each["value"], rel=1e-4)
        assert stays == each["invariant"], kind
    for key in ("eigenvalues", "trace"):
        assert after["hessian"][key] != pytest.approx(before["hessian"][key], rel=1e-3)
    for name in ("landscape_1d", "landscape_2d"):
        one, other = (np.load(folder / f"{name}.npz") for folder in folders)
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert np.ptp(one["loss"]) > 0.01
