"""Corrupt files in a run's directory, and values that nothing can hold: one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.quick import RUN, directory

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimizer.lr=1e300", "optimizer.lr=1e+300 is out of range"),
        ("optimizer.weight_decay=1e308", "optimizer.weight_decay=1e+308 is out of range"),
        ("schedule.factor=1e300", "schedule.factor=1e+300 is out of range"),
        ("schedule.milestones=[[1]]", "schedule.milestones=[[1]] is out of range"),
        ("schedule.milestones=[nan]", "schedule.milestones=[nan] is out of range"),
        ("batch_size=100000000", "not enough memory ("),
    ],
)
def test_values_that_no_number_or_memory_holds(override: str, said: str, deeprelax: Command) -> None:
    status, _, err = deeprelax(*RUN, "schedule=step", "model=mlp", override)
    assert status == 1
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize("content", [b"[]", b"{}", b"\x80\x00", b'{"test_error": "x"}', b"{"])
def test_a_corrupt_result_is_named(content: bytes, deeprelax: Command) -> None:
    assert deeprelax(*RUN, "epochs=1")[0] == 0
    file = directory() / "result.json"
    whole = json.loads(file.read_text())
    file.write_bytes(content)
    for command in (["evaluate", str(directory())], [*RUN, "epochs=1"]):
        status, _, err = deeprelax(*command)
        assert status == 1
        assert err.startswith("deeprelax: ")
        assert "result.json is corrupt: delete it, and the run's own command writes it again" in err
    file.unlink()
    assert deeprelax(*RUN, "epochs=1")[0] == 0
    assert json.loads(file.read_text())["test_loss"] == whole["test_loss"]


@pytest.mark.parametrize("content", [b"[]", b"", b"\x80\x00", b"{a: [", b"text", b"optimizer: 3"])
def test_a_corrupt_configuration_is_named(content: bytes, deeprelax: Command) -> None:
    assert deeprelax(*RUN, "epochs=1")[0] == 0
    (directory() / "config.yaml").write_bytes(content)
    for command in (
        ["evaluate", str(directory())], [*RUN, "epochs=1"],
        [*RUN, "epochs=2", f"continue_from={directory()}", "output_dir=b"],
    ):  # fmt: skip
        status, _, err = deeprelax(*command)
        assert status == 1
        assert "config.yaml is corrupt: delete it, and the run's own command writes it again" in err


def test_an_override_of_evaluate_that_cannot_be_read(deeprelax: Command) -> None:
    assert deeprelax(*RUN, "epochs=1")[0] == 0
    status, _, err = deeprelax("evaluate", str(directory()), "hardware.threads=[1")
    assert (status, err.count("\n")) == (1, 1)
