"""Find the runs under some folders and load their settings, state, result and records."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..configuration.rules import rules_before
from ..configuration.run_name import BEFORE, CLASSES_BEFORE, FOLDERS_BEFORE, NOT_IN_NAME
from ..errors import UserError, did_you_mean
from ..files import flat, is_held, read_json
from ..records.directory import RunDirectory
from ..records.scores import OF_OLDER_RUNS, first
from ..tasks.metric import Metric

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is eight times faster
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ ([A-Z]+) (.*)")
SEED_FOLDER = re.compile(r"/seed-\d+(?=/|$)")
RESULT = ("epochs", "batch_size", "budget", "gradient_evaluations", "seconds")  # positive numbers that each one has
COUNTS = ("gradient_evaluations", "passes", "seconds")
TRAINING = b'{"kind": "train"'
NO_SETTING = NOT_IN_NAME | {"train.evaluate_every"}  # looking at x more often changes no weight, but for CHOOSES
CHOOSES = ("train.keep", "train.patience")  # among evaluations
# older runs are in one group with new ones that have these values
IMPLIED = flat(BEFORE) | flat(CLASSES_BEFORE) | flat(FOLDERS_BEFORE)
GROUPS = ("dataset", "model", "optimizer")  # every training run's configuration has these


@dataclass(frozen=True)
class Run:
    """One run directory.

    settings: the flat configuration without the seed, without keys that cannot change the result, and without those
    that are null or say that the task is classification: a key that an older version lacked then equals one without a
    value. The optimizer.name of a chain is that of all its parts, as "adamw > sgd", and what it continues is one of the
    optimizer's settings. versions: of the libraries, and the commit.
    metrics: how its scores are to be read; none where that is unknown, as of a run that failed early.
    name, tags: what the user calls it and finds it by.
    """

    directory: Path
    settings: dict[str, Any]
    seed: int
    state: str  # finished, running, failed, stopped or corrupt
    reason: str  # of a failure or stop, or which file is corrupt
    result: dict[str, Any]  # empty unless finished
    records: list[dict[str, Any]]  # of evaluations, and the last one of any kind
    versions: dict[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    name: str = ""
    tags: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether it has a valid result."""
        return self.state == "finished"

    @property
    def passes(self) -> float:
        """Passes over the training data so far."""
        return float(self.records[-1]["passes"]) if self.records else 0.0

    @property
    def compared_by(self) -> str:
        """The key of result.json that it is compared by unless another is asked for."""
        return f"test_{first(self.metrics)[0]}" if self.metrics else "test_loss"

    @property
    def examples(self) -> str:
        """What its task's examples are called."""
        return "examples" if "task.name" in self.settings else "images"


def find_runs(folders: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """Load the training runs under the folders, each once, and collect notes on directories that are none.

    Raises UserError if a folder does not exist. A corrupt file raises nothing: its run has the state "corrupt".
    """
    runs: list[Run] = []
    notes: list[str] = []
    seen: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder: give one that holds runs, as outputs does")
        for directory, below, names in _directories(folder, seen):
            files = RunDirectory(directory)
            if files.config.name not in names:
                if files.result.name in names:
                    notes.append(f"{directory} has a result but no {files.config.name}, and is skipped")
                continue
            config = _configuration(files.config)
            if config is None:
                notes.append(f"{directory} is no training run, or its {files.config.name} is corrupt: skipped")
            else:
                runs.append(load_run(directory, config))
                below.clear()  # tells os.walk not to descend into the run
    return runs, notes


def tagged(runs: Iterable[Run], tags: Sequence[str]) -> list[Run]:
    """The runs that have all of these tags. Raises UserError if there are runs, but none has them."""
    runs = list(runs)
    found = [run for run in runs if set(tags) <= set(run.tags)]
    if runs and not found:
        known = sorted({tag for run in runs for tag in run.tags})
        there = f"there are {', '.join(known)}" if known else "none has any, as tags=[paper] of deeprelax train gives"
        near = did_you_mean(tags[0], known) if len(tags) == 1 else ""
        raise UserError(f"--tag {' --tag '.join(tags)}: no run has {'it' if len(tags) == 1 else 'all'}{near}: {there}")
    return found


def _directories(folder: Path, seen: set[Path]) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Walk the directories below `folder` that are not in `seen`, as os.walk does; links are followed, but once."""
    for path, below, names in os.walk(folder, followlinks=True):
        below.sort()
        if (real := Path(path).resolve()) in seen:
            below.clear()
            continue
        seen.add(real)
        yield Path(path), below, names


def _configuration(file: Path) -> dict[str, Any] | None:
    """The content of config.yaml; None if it is not a training run's."""
    try:
        config = yaml.load(file.read_bytes(), Loader)
    except (yaml.YAMLError, ValueError):
        return None
    known = isinstance(config, dict) and all(isinstance(config.get(group), dict) for group in GROUPS)
    return config if known and type(config.get("seed")) is int else None


def load_run(directory: Path, config: dict[str, Any]) -> Run:
    """Load the run in a directory, given the content of its config.yaml.

    A corrupt file makes its state "corrupt", with the file as the reason.
    """
    settings = {key: value for key, value in flat(config).items() if key not in NO_SETTING and value is not None}
    settings = {key: value for key, value in settings.items() if IMPLIED.get(key) != value}
    if settings.keys() & set(CHOOSES):
        settings |= {key: value for key, value in flat(config).items() if key == "train.evaluate_every"}
    rules = rules_before(str(settings.get("optimizer.name")))
    settings = {f"optimizer.{key}": value for key, value in rules.items()} | settings
    for key in {"continue_from", "init_from", "model.weights"} & settings.keys():
        # without the seed, or runs that continue those of the same seeds would be no group; its last two folders alone,
        # which a relative and an absolute path have in common
        settings[key] = "/".join(Path(SEED_FOLDER.sub("", str(settings[key]))).parts[-2:])
    if settings.get("optimizer.seed") == config["seed"]:
        del settings["optimizer.seed"]  # it follows the seed
    result: dict[str, Any] = {}
    records: list[dict[str, Any]] = []
    versions: dict[str, Any] = {}
    metrics = {} if "task.name" in settings else OF_OLDER_RUNS
    files = RunDirectory(directory)
    try:
        if files.provenance.exists():
            provenance = read_json(files.provenance)
            versions = provenance.get("versions", {}) | {"commit": provenance.get("commit")}
            if settings.get("hardware.share") == "chains":  # each chain is one more sample of d
                settings["ranks"] = provenance.get("ranks")
            metrics = files.score_metrics()
            settings |= _of_chain(provenance.get("chain"), settings)
        records = read_records(files.metrics)
        if files.finished:
            result = _result(files.result)
        state, reason = ("finished", "") if result else _unfinished(files)
    except UserError as error:
        state, reason, result = "corrupt", str(error), {}
    name, tags = config.get("name") or "", tuple(map(str, config.get("tags") or ()))
    return Run(directory, settings, config["seed"], state, reason, result, records, versions, metrics, str(name), tags)


def _of_chain(ended: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a run behind parts that ended, which is not to be taken for one of the last optimizer alone."""
    if not isinstance(ended, list) or not all(isinstance(part, dict) and "optimizer" in part for part in ended):
        return {}
    names = [str(part["optimizer"]) for part in ended]
    if not names:
        return {}
    return {
        "optimizer.name": " > ".join([*names, str(settings.get("optimizer.name"))]),
        "optimizer.continue_from": settings.pop("continue_from", None),
    }


def _result(file: Path) -> dict[str, Any]:
    result = read_json(file, RESULT)
    if wrong := [key for key in RESULT if result[key] <= 0]:
        raise UserError(f"{file} is corrupt, {wrong[0]} is {result[wrong[0]]}: delete it, and redo the run")
    return result


def _unfinished(files: RunDirectory) -> tuple[str, str]:
    """State and reason of a run without a result, by its lock and the last line of its log."""
    if is_held(files.path):
        return "running", ""
    text = files.log.read_text(errors="replace") if files.log.exists() else ""
    lines = [found.groups() for line in text.splitlines() if (found := LOG_LINE.fullmatch(line))]
    level, message = lines[-1] if lines else ("", "")
    if level != "ERROR":
        return "stopped", "without a word: killed, or the machine went down"
    if message.startswith("stopped by SIG") or message == "KeyboardInterrupt":
        return "stopped", message
    return "failed", message


def read_records(file: Path) -> list[dict[str, Any]]:
    """Load the records of evaluations from metrics.jsonl, and the last record, whatever its kind.

    Records of training are skipped: they are the most, and nothing is drawn of them. A last line without a newline is
    ignored: it is being written, or was when the run was killed. Raises UserError, naming the line, if one is corrupt.
    """
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    wanted = [line for line in lines[:-1] if not line.startswith(TRAINING)] + lines[-1:]
    # Parsed as one array, which is four times faster; only if that fails line by line, to name the corrupt one
    try:
        records = json.loads(b"[" + b",".join(wanted) + b"]")
        if len(records) == len(wanted) and all(map(_is_record, records)):
            return list(records)
    except ValueError:
        pass
    for number, line in enumerate(lines, 1):
        try:
            valid = _is_record(json.loads(line))
        except ValueError:
            valid = False
        if not valid:
            raise UserError(f"{file} is corrupt in line {number}: move the run away, or redo it with force=true")
    raise AssertionError("the lines are corrupt together, but none by itself")


def _is_record(record: object) -> bool:
    if not isinstance(record, dict) or not record.keys() >= {"kind", *COUNTS}:
        return False
    return all(isinstance(value, int | float) for key, value in record.items() if key != "kind")
