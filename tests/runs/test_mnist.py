"""The README's table again, one seed: minutes on the real MNIST."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "entropy_sgd", "hj", "heat"])
def test_lenet_reaches_one_point_two_percent_in_five_passes(
    optimizer: str, deeprelax: Callable[..., tuple[int, str, str]], mnist_folder: Path
) -> None:
    run = ["train", "experiment=mnist_lenet", "epochs=5", f"optimizer={optimizer}", f"data_dir={mnist_folder}"]
    status, _, err = deeprelax(*run)
    assert (status, err) == (0, "")
    (result,) = (json.loads(file.read_text()) for file in Path("outputs").rglob("result.json"))
    assert result["test_error"] <= 1.2
