"""Run `deeprelax find-lr`: a learning-rate range test of what `deeprelax train` would train."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from .. import files
from ..configuration import hydra_app
from ..configuration.check import checked
from ..configuration.datasets import NO_DATA
from ..configuration.rules import not_applied
from ..configuration.schema import TrainConf
from ..errors import UserError
from ..optim.hyperparameters import LARGEST
from ..parallel.ranks import from_environment
from ..runs.run import check_share

log = logging.getLogger(__name__)
NAME = "find_lr"
DESCRIPTION = """Find how large a learning rate may be: take outer steps on training batches from the initial weights,
with a rate that rises exponentially from step to step, until the loss diverges (learning-rate range test, arXiv
1506.01186): is not finite, or on average above its start by as much as it had come down, or twice that start. Suggested
is a tenth of the rate at which the loss, averaged over a twentieth of the steps, is lowest. KEY=VALUE are those of
`deeprelax train`; no run is begun, and none is changed. The rate is that of the steps along gradients:
optimizer.inner_lr where there is one (the chain of entropy_sgd and hj_proximal), else optimizer.lr."""
EXAMPLE = "For example: deeprelax find-lr dataset=mnist optimizer=sgd batch_size=256"


def parser() -> argparse.ArgumentParser:
    """The parser of the command's own options; what else there is goes to Hydra."""
    made = argparse.ArgumentParser(
        prog="deeprelax find-lr", usage="deeprelax find-lr [KEY=VALUE ...] [options]", description=DESCRIPTION,
        epilog=EXAMPLE, allow_abbrev=False, exit_on_error=False,
    )  # fmt: skip
    add = made.add_argument
    add("--from", type=float, default=1e-6, metavar="RATE", help="the first rate (default: %(default)g)", dest="first")
    add("--to", type=float, default=10.0, metavar="RATE", help="the last rate (default: %(default)g)", dest="last")
    add("--steps", type=int, metavar="N", help="outer steps (default: 100 gradient evaluations, 30 steps at least)")
    add("--key", metavar="KEY", help="another rate of the optimizer, as optimizer.lr")
    add(
        "--out", type=Path, metavar="FOLDER",
        help=f"where {NAME}.png and {NAME}.json go (default: a folder under outputs/{NAME}/, named by the KEY=VALUE)",
    )  # fmt: skip
    return made


def main(arguments: list[str]) -> None:
    """Compose the configuration of `deeprelax train` and test its rates. Raises UserError."""
    try:
        options, rest = parser().parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise UserError(f"{error}: see deeprelax find-lr --help") from None
    _check(options, rest)
    makes = options.out is not None and not options.out.exists()
    folder = f"${{run_root:}}/{NAME}/${{run_name:}}" if options.out is None else _quoted(str(options.out))
    try:
        hydra_app.run("train", lambda config: job(config, options), [*rest, f"hydra.run.dir={folder}"], "find-lr")
    finally:
        if makes:
            with contextlib.suppress(OSError):  # it is not empty, or not there
                options.out.rmdir()


def _check(options: argparse.Namespace, rest: list[str]) -> None:
    if {"-m", "--multirun"} & set(rest):
        raise UserError("find-lr tests one optimizer with one set of keys: leave -m out, and call it for each")
    if not 0 < options.first < options.last <= LARGEST:
        raise UserError(
            f"--from {options.first:g} --to {options.last:g} is no range: give two numbers > 0, the larger one as --to"
        )
    if options.steps is not None and not 10 <= options.steps <= 100_000:
        raise UserError(f"--steps {options.steps} is out of range: it must be an integer from 10 to 100000")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def job(config: DictConfig, options: argparse.Namespace) -> None:
    """Test one configuration; print and write what was found.

    Raises UserError for a value out of range, for what has no rate, and, when figure and numbers are written, if they
    suggest none.
    """
    conf = checked(config)
    folder = Path(HydraConfig.get().runtime.output_dir)
    if (line := not_applied(config, HydraConfig.get().runtime.choices)) is not None:
        log.info(line)
    conf = _alone(conf)
    from ..reporting import rates as reading
    from ..runs.range_test import range_test, rates_of  # imports torch

    known = rates_of(conf.optimizer)
    key = known[0] if options.key is None else options.key.rpartition(".")[2]
    dotted = f"optimizer.options.{key}" if ":" in conf.optimizer.name else f"optimizer.{key}"
    if key not in known and ":" not in conf.optimizer.name:
        raise UserError(f"--key {options.key} is no rate of optimizer={conf.optimizer.name}: one of {', '.join(known)}")
    data = conf.task.name if conf.dataset.name == NO_DATA else conf.dataset.name
    title = f"{conf.model.name} on {data} with {conf.optimizer.name}"
    log.info("%s: %s from %g to %g", title, dotted, options.first, options.last)
    found = range_test(conf, key, options.first, options.last, options.steps)

    curve = reading.Curve(found.rates, found.losses, reading.window(found.steps), found.diverged)
    figure = folder / f"{NAME}.png"
    reading.draw(curve, dotted, title, figure)
    content = {
        "key": dotted, "suggestion": curve.suggestion, "lowest": curve.rates[curve.lowest], "diverged": found.diverged,
        "dataset": conf.dataset.name, "task": conf.task.name, "model": conf.model.name, "batch_size": conf.batch_size,
        "seed": conf.seed, "optimizer": dataclasses.asdict(conf.optimizer), "outer_steps": len(found.losses),
        "gradient_evaluations": found.evaluations, "seconds": found.seconds, "window": curve.width,
        "rates": found.rates, "losses": found.losses, "smoothed": curve.smoothed.tolist(),
    }  # fmt: skip
    files.write_json(folder / f"{NAME}.json", content)
    shown = figure.relative_to(Path.cwd()) if figure.is_relative_to(Path.cwd()) else figure
    log.info(curve.summary())
    if curve.problem:
        raise UserError(f"{curve.problem} ({shown})")
    log.info(
        "suggested %s=%g  %d gradient evaluations  %.1f s  %s",
        dotted, curve.suggestion, found.evaluations, found.seconds, shown,
    )  # fmt: skip


def _alone(conf: TrainConf) -> TrainConf:
    """The configuration as one process tests it. Raises UserError for what cannot be tested."""
    if conf.optimizer.name == "lbfgs":
        raise UserError(
            "optimizer=lbfgs finds the length of each step by a line search, so that there is no rate to find: train "
            "with its lr of 1, or take another optimizer"
        )
    if conf.continue_from is not None:
        raise UserError("find-lr continues no run: name the run in init_from, to start from its weights")
    ranks = from_environment()
    if ranks is not None and ranks.world > 1:
        raise UserError("find-lr runs in one process: start it without torchrun")
    if conf.hardware.devices not in ("1", "all"):
        log.info("on one rank of the %s, with the whole batch", conf.hardware.devices)
    check_share(conf, 1)
    # neither changes more than rounding, and both would take longer to get ready than the test takes
    hardware = dataclasses.replace(conf.hardware, compile=False, cuda_graphs=False, devices="1")
    return dataclasses.replace(conf, hardware=hardware)
