"""The language model against the entropy of its text."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.quick import directory

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.slow
def test_adamw_comes_within_a_tenth_of_the_floor_and_not_under_it(deeprelax: Command) -> None:
    """One seed, so this passes always or never for one release of torch on one kind of machine."""
    status, _, err = deeprelax("train", "experiment=tokens", "optimizer=adamw", "hardware.threads=1")
    assert (status, err) == (0, "")
    result = json.loads((directory() / "result.json").read_text())
    assert result["gradient_evaluations"] == 1318
    assert result["floor_on_test"] < result["test_bits"] < 1.1 * result["floor"]
