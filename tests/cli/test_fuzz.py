"""Fuzz the command line: arguments lead to the point where training would start or to a message, never a traceback."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeprelax import cli
from deeprelax.commands import train

GROUPS = ["dataset", "model", "optimizer", "schedule", "hardware", "experiment", "train", "hydra"]
KEYS = [
    "epochs", "batch_size", "seed", "data_dir", "output_dir", "force", "optimizer.lr", "optimizer.gamma",
    "optimizer.name",
    "optimizer.inner_steps", "optimizer.nesterov", "optimizer.options", "optimizer.options.x", "model.dropout",
    "model.name", "model.options.width", "dataset.image_size", "dataset.train_size", "dataset.normalize",
    "dataset.options",
    "schedule.milestones", "schedule.factor", "schedule.name", "hardware.threads", "hardware.devices", "hardware.share",
    "train.evaluate_every", "train.checkpoint_seconds", "train.bn_batches", *GROUPS,
]  # fmt: skip
WORDS = [
    "", "null", "???", "true", "-1", "0", "1", "1e400", "nan", "inf", "-inf", "1e-400", "10" * 40, "[]", "[1,2]",
    "[a,[b]]",
    "{}", "{a:1}", "sgd", "heat", "lenet", "digits", "mnist_lenet", "step", "all", "${seed}", "${nothing}",
    "${oc.env:X}",
    "a:b", ":", "a.b:c", "'", '"', "a b", "ä", "\U0001f600", "../..", "/", "~", "=", "$", "\\", "%",
    ",", "1,2", "x" * 300,
]  # fmt: skip
keys = st.one_of(st.sampled_from(KEYS), st.text(min_size=0, max_size=12))
values = st.one_of(
    st.sampled_from(WORDS), st.integers().map(str), st.floats().map(str), st.text(max_size=20), st.booleans().map(str)
)
overrides = st.builds(
    lambda sign, key, value: f"{sign}{key}={value}", st.sampled_from(["", "", "+", "++", "~"]), keys, values
)


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(overrides, min_size=1, max_size=3))
def test_any_overrides_end_in_a_run_or_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    started: list[Any] = []

    def begin(conf: Any, *_: Any) -> dict[str, float]:
        started.append(conf)
        return {"test_error": 0.0}

    monkeypatch.setattr(train, "run", begin)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = cli.main(["train", f"hydra.run.dir={tmp_path}/run", *(word for word in arguments if "\0" not in word)])
    message = err.getvalue()
    assert "Traceback" not in message
    if status == 0:
        assert started or out.getvalue()
    else:
        assert not started
        assert message.startswith(("deeprelax: ", "usage: ")), message
