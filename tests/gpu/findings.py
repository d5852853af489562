"""How a part of `tests.gpu.check` says what it found, and runs a command."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any


def say(what: str, **numbers: Any) -> None:
    """One finding, as a line on standard output that the parent keeps."""
    print(json.dumps({"what": what, **numbers}), flush=True)


@contextlib.contextmanager
def attempt(what: str) -> Iterator[None]:
    """An error within it is a finding."""
    try:
        yield
    except Exception as error:
        print("FAILED " + json.dumps({"what": what, "error": f"{type(error).__name__}: {error}"[:600]}), flush=True)


def run(module: str, *words: str) -> str:
    """`python -m MODULE WORDS`; the last line that it prints. Raises AssertionError with the last lines if it fails."""
    done = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()] or [""]
    assert done.returncode == 0, f"status {done.returncode}: " + " | ".join(lines[-12:])
    return lines[-1]
