"""Run `deeprelax evaluate`: compute the scores of a run's checkpoint again."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from ..files import read_json
from ..records.scores import of_key

USAGE = """Evaluate a run again from its checkpoint.

Usage: deeprelax evaluate RUN [KEY=VALUE ...]
  RUN is a run directory, as printed by `deeprelax train`; run=RUN means the same.
  Keys that may be set here: data_dir, hardware.device, hardware.channels_last, hardware.precision,
  hardware.threads."""
ALLOWED = ("data_dir", *(f"hardware.{key}" for key in ("device", "channels_last", "precision", "threads")))


def main(arguments: list[str]) -> None:
    """Evaluate the run that the arguments name. Raises UserError."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print(USAGE)
        return
    overrides = [each for each in arguments if each.partition("=")[0] in ALLOWED]
    runs = [each.removeprefix("run=") for each in arguments if each not in overrides]
    if len(runs) != 1:
        raise UserError(f"evaluate takes one run directory, not {len(runs)} ({' '.join(runs) or 'none'})")
    evaluate(Path(runs[0]), overrides)


def evaluate(path: Path, overrides: list[str]) -> dict[str, float]:
    """Print and return the loss and the task's scores on test data, and on validation data if they were held out.

    overrides: "key=value" for keys of ALLOWED. Raises UserError if the directory, its configuration, its checkpoint or
    the data are missing or corrupt.
    """
    from ..parallel.ranks import SOLO
    from ..runs.failures import views_explained
    from ..runs.restored import restored
    from ..training.evaluation import scores
    from ..training.objective import Autocast

    run = restored(path, overrides)
    task, hardware = run.task, run.conf.hardware
    autocast = Autocast(hardware.precision, run.device)
    with views_explained(hardware):
        found = scores(task, run.model, task.statistics(run.conf.train.bn_batches), autocast, SOLO)
    values = {f"{split}_{name}": value for split, numbers in found.items() for name, value in numbers.items()}
    for name, value in values.items():
        print(f"{name} {value:.6g} {of_key(name, task.metrics).unit}".rstrip())
    _compare(run.directory.result, values)
    return values


def _compare(file: Path, values: dict[str, float]) -> None:
    """Print whether the values agree with result.json in the digits that are printed."""
    if not file.exists():
        print("(the run is not finished: these are the numbers of its last checkpoint)")
        return
    result = read_json(file, scores=["test_loss"])
    known = {name: result[name] for name in values if name in result}  # a score may be newer than the run
    same = all(f"{number:.6g}" == f"{values[name]:.6g}" for name, number in known.items())
    print("as in result.json" if same else f"result.json has {', '.join(f'{k} {v:.6g}' for k, v in known.items())}")
