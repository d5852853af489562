"""Run `deeprelax evaluate`: compute loss and error of a run's checkpoint again."""

from __future__ import annotations

from pathlib import Path

from ..configuration.check import load
from ..errors import UserError
from ..files import read_json
from ..records.directory import RunDirectory

USAGE = """Evaluate a run again from its checkpoint.

Usage: deeprelax evaluate RUN [KEY=VALUE ...]
  RUN is a run directory, as printed by `deeprelax train`; run=RUN means the same.
  Keys that may be set here: data_dir, hardware.device, hardware.precision, hardware.threads."""
ALLOWED = ("data_dir", "hardware.device", "hardware.precision", "hardware.threads")


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
    """Print and return test_loss, test_error (percent), and the same for validation if it was held out.

    overrides: "key=value" for keys of ALLOWED. Raises UserError if the directory, its configuration, its checkpoint or
    the data are missing or corrupt.
    """
    if not path.is_dir():
        raise UserError(f"{path} is not a directory: give the directory of a run")
    directory = RunDirectory(path)
    conf = load(directory.config, overrides)
    from ..records import checkpoint
    from ..runs.build import build_model, choose_device, load_data, load_weights, set_up_cpu
    from ..training.evaluation import scores, statistics_batches
    from ..training.objective import Autocast

    state = checkpoint.latest(path)
    if state is None:
        raise UserError(f"{directory.checkpoint} is not there: the run has reached no checkpoint yet")
    set_up_cpu(conf.hardware, state["threads"])
    device = choose_device(conf.hardware)
    data = load_data(conf.dataset, conf.data_dir, device)
    model = build_model(conf.model, data, conf.seed, device)
    load_weights(model, state, path)
    autocast = Autocast(conf.hardware.precision, device)
    statistics = statistics_batches(data.train, conf.batch_size, conf.seed, conf.train.bn_batches)
    found = scores(model, data, statistics, autocast)
    values = {f"{split}_{name}": value for split, numbers in found.items() for name, value in numbers.items()}
    for name, value in values.items():
        print(f"{name} {value:.6g}{' %' if name.endswith('error') else ''}")
    _compare(directory.result, values)
    return values


def _compare(file: Path, values: dict[str, float]) -> None:
    """Print whether the values agree with result.json in the digits that are printed."""
    if not file.exists():
        print("(the run is not finished: these are the numbers of its last checkpoint)")
        return
    result = read_json(file, values)
    same = all(f"{result[name]:.6g}" == f"{value:.6g}" for name, value in values.items())
    print("as in result.json" if same else f"result.json has {', '.join(f'{k} {result[k]:.6g}' for k in values)}")
