"""Write the records of a run: metrics.jsonl is the truth, TensorBoard the view."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from ..errors import UserError
from .directory import RunDirectory

Number = float | int
NO_CURVE = {"kind", "gradient_evaluations", "passes", "outer_steps", "seconds", "traffic_bytes"}


class Records:
    """Appends records to metrics.jsonl and shows them in TensorBoard, against gradient evaluations; of the main rank.

    `state` is what a checkpoint keeps; records behind it belong to a part of the run that is done again, and are cut
    off on resume. Raises UserError if those before it are not the ones that the state has the digest of.
    """

    def __init__(self, directory: Path, state: dict[str, Any] | None = None, evaluations: int = 0) -> None:
        self._directory, self._evaluations = directory, evaluations
        self._digest = hashlib.blake2b(digest_size=16)
        file = RunDirectory(directory).metrics
        if state is not None:
            self._digest.update(file.read_bytes()[: state["position"]] if file.exists() else b"")
            if self._digest.hexdigest() != state["digest"]:
                raise UserError(
                    f"{file} is not what the checkpoint resumes from (shortened or changed): put it back, "
                    "or start again with force=true"
                )
        self._file = file.open("ab")
        self._file.truncate(state["position"] if state is not None else 0)
        self._writer: Any = None

    def state(self) -> dict[str, Any]:
        """How many bytes of metrics.jsonl are on the disk now, and their digest."""
        self._file.flush()
        os.fsync(self._file.fileno())
        if self._writer is not None:
            self._writer.flush()
        return {"position": self._file.seek(0, os.SEEK_END), "digest": self._digest.hexdigest()}

    def write(self, kind: str, counts: dict[str, Number], values: dict[str, Number]) -> None:
        """One record, {"kind", *counts, *values}; values go to TensorBoard as kind/name."""
        record = {"kind": kind, **counts, **values}
        writer = self._tensorboard()  # before the record is written: a new one shows what the file holds
        line = json.dumps(record).encode() + b"\n"
        self._digest.update(line)
        self._file.write(line)
        self._file.flush()
        _show(writer, record)

    def hyper_parameters(self, hyper_parameters: dict[str, Any], metrics: dict[str, Number]) -> None:
        """This run's row in TensorBoard's HParams table; `metrics` are tags of scalars written before."""
        from torch.utils.tensorboard.summary import hparams

        plain = {key: value if isinstance(value, bool | int | float | str) else str(value)
                 for key, value in hyper_parameters.items()}  # fmt: skip
        # hparams() returns (experiment, session start, session end). The first fixes the columns of the table: kept, it
        # would make TensorBoard take one run's hyper-parameters for those of all.
        for summary in hparams(plain, metrics)[1:]:
            self._tensorboard().file_writer.add_summary(summary)

    def _tensorboard(self) -> Any:
        if self._writer is None:  # late: the import takes seconds
            from torch.utils.tensorboard import SummaryWriter

            threading.excepthook = _unless_raised_here
            folder = RunDirectory(self._directory).tensorboard
            if folder.exists():
                self._writer = SummaryWriter(str(folder), purge_step=self._evaluations + 1)
            else:  # as in a run that continues another, with its records
                self._writer = SummaryWriter(str(folder))
                for line in RunDirectory(self._directory).metrics.read_text().splitlines():
                    _show(self._writer, json.loads(line))
        return self._writer

    def close(self) -> None:
        try:
            self._file.close()
            if self._writer is not None:
                self._writer.close()
        finally:
            threading.excepthook = threading.__excepthook__


def _show(writer: Any, record: dict[str, Any]) -> None:
    for name in record.keys() - NO_CURVE:
        writer.add_scalar(f"{record['kind']}/{name}", record[name], record["gradient_evaluations"])


def _unless_raised_here(args: Any) -> None:
    """TensorBoard writes in a thread; what goes wrong with the file there is raised by the next call here too."""
    if not issubclass(args.exc_type, OSError):
        threading.__excepthook__(args)
