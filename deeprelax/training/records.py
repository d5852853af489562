"""What a run writes as it goes: metrics.jsonl is the truth, TensorBoard the view."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Number = float | int


class Records:
    """Appends records to metrics.jsonl and shows them in TensorBoard, against gradient evaluations; of the main rank.

    `position` is what a checkpoint keeps; records behind it belong to a part of the run that is done again and are cut
    off on resume.
    """

    def __init__(self, directory: Path, position: int = 0, evaluations: int = 0) -> None:
        self._directory, self._evaluations = directory, evaluations
        self._file = (directory / "metrics.jsonl").open("ab")
        self._file.truncate(position)
        self._writer: Any = None

    @property
    def position(self) -> int:
        """Bytes of metrics.jsonl that are on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        if self._writer is not None:
            self._writer.flush()
        return self._file.seek(0, os.SEEK_END)

    def write(self, kind: str, evaluations: int, counts: dict[str, Number], values: dict[str, Number]) -> None:
        """One record, {"kind", "gradient_evaluations", *counts, *values}; values go to TensorBoard as kind/name."""
        line = {"kind": kind, "gradient_evaluations": evaluations, **counts, **values}
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        for name, value in values.items():
            self._tensorboard().add_scalar(f"{kind}/{name}", value, evaluations)

    def hyper_parameters(self, hyper_parameters: dict[str, Any], metrics: dict[str, Number]) -> None:
        """This run's row in TensorBoard's HParams table; `metrics` are tags of scalars written before."""
        from torch.utils.tensorboard.summary import hparams

        plain = {key: value if isinstance(value, bool | int | float | str) else str(value)
                 for key, value in hyper_parameters.items()}  # fmt: skip
        for summary in hparams(plain, metrics):
            self._tensorboard().file_writer.add_summary(summary)

    def _tensorboard(self) -> Any:
        if self._writer is None:  # late: the import takes seconds
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._directory / "tensorboard"), purge_step=self._evaluations + 1)
        return self._writer

    def close(self) -> None:
        self._file.close()
        if self._writer is not None:
            self._writer.close()
