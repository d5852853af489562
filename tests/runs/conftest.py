"""Shared by the tests of runs."""

from __future__ import annotations

import pytest
from tensorboard.summary.writer import event_file_writer


@pytest.fixture(autouse=True, scope="session")
def _event_files_in_order() -> None:
    """TensorBoard tells files that one process writes within a second by a counter, and reads 10 before 9."""
    event_file_writer._global_uid = event_file_writer.AtomicCounter(1_000_000)
