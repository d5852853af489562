"""The script for a day with a GPU, on a CPU: it runs to its end, and tells what failed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deeprelax.configuration.registry import REGISTRY
from tests.gpu import check, findings


def run(*words: str, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.gpu.check", *words]
    environment = {"OUT": str(out), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.slow
def test_all_parts_run_on_a_cpu(tmp_path: Path) -> None:
    done = run(*check.LIMITS, out=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "check-gpu.json").read_text())
    parts = {"torch", "graphs", "compiled", "two", "pytest", "waits", "passes", "whole", "bench"}
    assert {each["what"].split()[0] for each in found} == parts
    assert not any(each["failed"] for each in found)
    compared = {each["what"].split()[1] for each in found if each["what"].startswith("graphs ")}
    assert compared >= set(REGISTRY["optimizer"]) - {"lbfgs"}
    assert "0 failed" in done.stdout.splitlines()[-1]


def test_a_part_that_fails_says_so_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def told(name: str, limit: float, findings: check.Findings) -> None:
        findings.add(f'FAILED {{"what": "{name}", "error": "no"}}' if name == "graphs" else f'{{"what": "{name}"}}')

    monkeypatch.setenv("OUT", str(tmp_path))
    monkeypatch.setattr(check, "part", told)
    assert check.main(["graphs", "waits"]) == 1
    found = json.loads((tmp_path / "check-gpu.json").read_text())
    assert [(each["what"], each["failed"]) for each in found] == [("torch", False), ("graphs", True), ("waits", False)]


def test_an_error_in_a_part_is_a_line_and_a_part_out_of_time_is_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with findings.attempt("sums"):
        raise ValueError("no sum")
    assert json.loads(capsys.readouterr().out.removeprefix("FAILED ")) == {
        "what": "sums",
        "error": "ValueError: no sum",
    }
    monkeypatch.setenv("OUT", str(tmp_path))
    check.part("waits", 0.05, check.Findings())
    (line,) = json.loads((tmp_path / "check-gpu.json").read_text())
    assert line["failed"]
    assert line["error"] == "took more than 0.05 s"


def test_all_limits_together_are_six_minutes() -> None:
    beside = max(check.NUMBERS.values())
    assert beside + sum(check.TIMES.values()) <= 360
