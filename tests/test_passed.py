"""`make test-night` resumes where it was interrupted, and restarts when anything has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = """
import os, signal

def test_first():
    assert VALUE == 1

def test_second():
    if os.environ.get("KILL"):
        os.kill(os.getpid(), signal.SIGKILL)

def test_third():
    assert not os.environ.get("FAIL")
"""


def outcome(**environment: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "tests.passed", "-p", "tests.skips", "-r", "f", "test_it.py"]
    own = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment}
    own.pop("CI", None)  # with it, pytest's summary has whole messages instead of lines
    return subprocess.run(command, capture_output=True, text=True, env=own, timeout=60).stdout


def git(*arguments: str) -> None:
    who = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run(["git", *who, *arguments], check=True, capture_output=True, timeout=60)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_what_has_passed_is_skipped_until_something_changes() -> None:
    tests = Path("test_it.py")
    tests.write_text(TESTS.replace("VALUE", "1"))
    Path("pytest.ini").write_text("[pytest]\n")
    Path(".gitignore").write_text(".pytest_cache\n__pycache__\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    outcome(KILL="1")
    failure, skips, counts = outcome(FAIL="1").splitlines()[-3:]
    assert failure.startswith("FAILED test_it.py::test_third")
    assert skips == "SKIPPED [1] has passed at this commit before: test_it.py"  # known although a kill followed
    assert "1 failed, 1 passed, 1 skipped" in counts
    skips, counts = outcome().splitlines()[-2:]
    assert skips == "SKIPPED [2] has passed at this commit before: test_it.py"
    assert "1 passed, 2 skipped" in counts
    assert "3 skipped" in outcome()
    Path("new.py").touch()
    assert "3 passed" in outcome()
    assert "3 skipped" in outcome()
    tests.write_text(TESTS.replace("VALUE", "2"))
    assert "1 failed, 2 passed" in outcome()
    git("commit", "-am", "two")
    assert "1 failed, 2 passed" in outcome()


def test_without_git_all_are_run_each_time() -> None:
    Path("test_it.py").write_text(TESTS.replace("VALUE", "1"))
    Path("pytest.ini").write_text("[pytest]\n")
    for _ in range(2):
        assert "3 passed" in outcome(GIT_DIR="nowhere")
