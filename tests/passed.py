"""A plugin of pytest, `-p tests.passed`: what has passed at this commit, with these changes, is not run again."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

RECORD = "deeprelax/passed"  # in pytest's cache


def state(root: Path) -> str | None:
    """A digest of the commit and of all that differs from it; None outside a git checkout, where nobody can tell."""

    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=True).stdout

    try:
        digest = hashlib.sha256(git("rev-parse", "HEAD") + git("diff", "HEAD", "--binary", "--no-ext-diff"))
        for name in git("ls-files", "-z", "--others", "--exclude-standard", "--", ":/").split(b"\0")[:-1]:
            if not name.startswith(b"outputs/"):  # runs, which grow meanwhile
                digest.update(name + b"\0" + (root / name.decode()).read_bytes())
    except (OSError, subprocess.CalledProcessError):
        return None
    return digest.hexdigest()


class Passed:
    """Skips tests with a record, and records each that passes at once: the next moment may be the last."""

    def __init__(self, config: pytest.Config) -> None:
        self._cache, self._state = config.cache, state(config.rootpath)
        record = self._cache.get(RECORD, {}) if self._cache else {}
        known = self._state is not None and record.get("state") == self._state
        self._passed: list[str] = record["passed"] if known else []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if item.nodeid in self._passed:
                item.add_marker(pytest.mark.skip(reason="has passed at this commit before"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        outcomes = self._outcomes = []
        result = yield
        if outcomes == ["passed"] * 3 and self._cache:
            self._passed.append(item.nodeid)
            self._cache.set(RECORD, {"state": self._state, "passed": self._passed})
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._outcomes.append(report.outcome)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Passed(config))
