"""Freed memory: kept on glibc, left alone elsewhere, offered to loops of one's own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from deeprelax.optim import allocator


def test_it_is_at_the_library_door_which_needs_nothing_else() -> None:
    code = (
        "import sys\n"
        "from deeprelax.optim import keep_freed_memory\n"
        "keep_freed_memory()\n"
        "others = {m for m in sys.modules if m.startswith('deeprelax.') and not m.startswith('deeprelax.optim')}\n"
        "others |= {'torch', 'numpy', 'hydra', 'omegaconf', 'yaml'} & set(sys.modules)\n"
        "assert not others, others\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: pytest.fail("it was asked to change its allocator"))
    assert allocator.keep_freed_memory() is False


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an option of glibc's")
def test_freed_memory_is_kept_and_used_again() -> None:
    code = """
import resource, torch
from deeprelax.optim import keep_freed_memory
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    before = faults()
    for _ in range(5):
        blocks = [torch.ones(5_000_000) for _ in range(4)]
        del blocks
    return faults() - before
work()
default = work()
assert keep_freed_memory()
work()
print(default, work())
"""
    # glibc moves its threshold by itself, and with luck keeps blocks of this size; fixed, it gives them back each time.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    default, kept = map(int, done.stdout.split())
    assert default > 1000
    assert kept < default / 10
