"""What the files of a run say: its settings, state, result and records."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..config import flat
from ..errors import UserError
from ..files import is_held
from ..rundir import LEFT_OUT

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is eight times faster
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ ([A-Z]+) (.*)")
SEED_FOLDER = re.compile(r"/seed-\d+/*$")
RESULT = {"seed", "epochs", "batch_size", "budget", "gradient_evaluations", "seconds"}  # the least that one has
GROUPS = ("dataset", "model", "optimizer")  # every training run's configuration has these


@dataclass(frozen=True)
class Run:
    """One run directory.

    `settings` is the flat configuration without the seed, what cannot change the result, and what is null: a key that
    an older version did not have is one without a value.
    """

    directory: Path
    settings: dict[str, Any]
    seed: int
    state: str  # finished, running, failed or stopped
    reason: str  # why it failed or stopped
    result: dict[str, Any]  # empty unless finished
    records: list[dict[str, Any]]

    @property
    def finished(self) -> bool:
        return self.state == "finished"

    @property
    def passes(self) -> float:
        """Passes over the training data so far."""
        return float(self.records[-1]["passes"]) if self.records else 0.0


def find(folders: Iterable[Path]) -> tuple[list[Run], list[Path]]:
    """The training runs under the folders, each once, and the directories with a config.yaml of something else.

    Raises UserError if a folder is not there, or a file of a run is damaged.
    """
    directories: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder: give one that holds runs, as outputs does")
        for place, below, names in os.walk(folder):
            below.sort()
            if "config.yaml" in names:
                directories.setdefault(Path(place).resolve(), Path(place))
                below.clear()
    runs, others = [], []
    for directory in directories.values():
        config = _configuration(directory / "config.yaml")
        if config is None:
            others.append(directory)
        else:
            runs.append(read(directory, config))
    return runs, others


def _configuration(file: Path) -> dict[str, Any] | None:
    """The content of config.yaml; None if it is not a training run's."""
    try:
        config = yaml.load(file.read_bytes(), Loader)
    except yaml.YAMLError:
        raise UserError(f"{file} is damaged: mend it, or move the run away") from None
    known = isinstance(config, dict) and "seed" in config and all(isinstance(config.get(g), dict) for g in GROUPS)
    return config if known else None


def read(directory: Path, config: dict[str, Any]) -> Run:
    """The run in a directory; `config` is the content of its config.yaml. Raises UserError if a file is damaged."""
    settings = {key: value for key, value in flat(config).items() if key not in LEFT_OUT and value is not None}
    if "continue_from" in settings:
        settings["continue_from"] = SEED_FOLDER.sub("", str(settings["continue_from"]))
    if settings.get("optimizer.seed") == config["seed"]:
        del settings["optimizer.seed"]  # it follows the seed
    provenance = directory / "provenance.json"
    if settings.get("hardware.share") == "chains" and provenance.exists():
        settings["ranks"] = _object(provenance, {"ranks"})["ranks"]  # each chain is one more sample of d
    file = directory / "result.json"
    finished = file.exists()
    state, reason = ("finished", "") if finished else _unfinished(directory)
    return Run(
        directory, settings, config["seed"], state, reason,
        result=_object(file, RESULT) if finished else {},
        records=read_records(directory / "metrics.jsonl"),
    )  # fmt: skip


def _object(file: Path, keys: set[str]) -> dict[str, Any]:
    try:
        value = json.loads(file.read_bytes())
    except ValueError:
        value = None
    if not isinstance(value, dict) or not value.keys() >= keys:
        raise UserError(f"{file} is damaged: delete it, and the run's own command writes it again")
    return value


def _unfinished(directory: Path) -> tuple[str, str]:
    """State and reason by the lock and the last words of the log."""
    if is_held(directory):
        return "running", ""
    log = directory / "train.log"
    text = log.read_text(errors="replace") if log.exists() else ""
    lines = [found.groups() for line in text.splitlines() if (found := LOG_LINE.fullmatch(line))]
    level, message = lines[-1] if lines else ("", "")
    if level != "ERROR":
        return "stopped", "without a word: killed, or the machine went down"
    if message.startswith("stopped by SIG") or message == "KeyboardInterrupt":
        return "stopped", message
    return "failed", message


def read_records(file: Path) -> list[dict[str, Any]]:
    """The records of metrics.jsonl. A last line without its end is being written, or was when the run was killed.

    Raises UserError, naming the line, if another one is damaged.
    """
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    try:  # all at once is four times faster
        records = json.loads(b"[" + b",".join(lines) + b"]")
        if len(records) == len(lines) and all(map(_is_record, records)):
            return list(records)
    except ValueError:
        pass
    for number, line in enumerate(lines, 1):
        try:
            sound = _is_record(json.loads(line))
        except ValueError:
            sound = False
        if not sound:
            raise UserError(f"{file} is damaged in line {number}: move the run away, or redo it with force=true")
    raise AssertionError("damaged as a whole, and in no line")


def _is_record(record: object) -> bool:
    return isinstance(record, dict) and record.keys() >= {"kind", "gradient_evaluations", "passes", "seconds"}
