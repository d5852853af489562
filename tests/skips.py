"""A plugin of pytest, `-p tests.skips`: before the counts stand all skips by their reason, and nothing else."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around pytest's own summary, which is around that of others
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    result = yield
    by_reason: dict[str, Counter[str]] = defaultdict(Counter)
    for report in terminalreporter.stats.get("skipped", []):
        by_reason[report.longrepr[2].removeprefix("Skipped: ")][report.nodeid.partition("::")[0]] += 1
    for reason, files in sorted(by_reason.items()):
        terminalreporter.write_line(f"SKIPPED [{files.total()}] {reason}: {', '.join(sorted(files))}")
    return result
