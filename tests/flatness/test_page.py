"""The example of docs/flatness.md runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "flatness.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        exec(code, {})
    assert "True" in capsys.readouterr().out.splitlines()[0]
