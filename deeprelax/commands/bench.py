"""Run `deeprelax bench`: measure what optimizer steps cost, as a Hydra application."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from .. import files
from ..configuration import hydra_app
from ..configuration.check import validated
from ..configuration.schema import BenchConf
from ..errors import UserError

if TYPE_CHECKING:
    from ..bench.report import Report
PASSED_ON = ("model", "dataset", "hardware")  # to the whole run: the groups that `deeprelax train` has as well


def main(arguments: list[str]) -> None:
    """Compose the configuration and run `job`. Raises UserError."""
    hydra_app.run("bench", job, arguments)


def job(config: DictConfig) -> None:
    """Measure, print the table, write bench.json. Raises UserError for an optimizer without a name, or unknown."""
    conf = validated(config)
    assert isinstance(conf, BenchConf)
    for name, keywords in conf.optimizers.items():
        if not isinstance(keywords, dict) or "name" not in keywords:
            raise UserError(f"optimizers.{name} needs a name: write optimizers.{name}.name=NAME")
        other = keywords.get("beside", name)
        if not isinstance(other, str) or other not in conf.optimizers:
            raise UserError(
                f"optimizers.{name}.beside={other} is not one of the optimizers {', '.join(conf.optimizers)}"
            )
    for name in conf.only:
        if name not in conf.optimizers:
            raise UserError(f"only={name} is not one of the optimizers {', '.join(conf.optimizers)}")
    overrides = [each for each in HydraConfig.get().overrides.task if _key(each).split(".")[0] in PASSED_ON]
    file = Path(HydraConfig.get().runtime.output_dir) / "bench.json"
    from ..runs.build import choose_device  # these import torch
    from ..runs.failures import views_explained
    from ..runs.precision import single_precision

    arithmetic = single_precision(conf.hardware.precision, choose_device(conf.hardware))
    with views_explained(conf.hardware), arithmetic:
        for report in measure(conf, overrides):  # written after each part: an interrupted benchmark keeps what it has
            files.write_json(file, report.content())
    print(f"{report.table()}\n{file}")


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def measure(conf: BenchConf, overrides: list[str]) -> Iterator[Report]:
    """Yield the same report after each part that was measured: every optimizer, the yardsticks, the whole run.

    overrides: those of the command line that the whole run, in a process of its own, is to have.
    """
    from ..bench.images import random_images, shape_of
    from ..bench.report import Report
    from ..bench.steps import step_costs
    from ..bench.whole import whole_run
    from ..bench.yardsticks import compared
    from ..data.batches import Data, Images
    from ..data.normalize import fit
    from ..runs.build import choose_device, set_up_cpu
    from ..tasks.classification import Classification
    from ..tasks.task import Setting

    set_up_cpu(conf.hardware)
    device = choose_device(conf.hardware)
    shape = shape_of(conf.dataset)
    images = random_images(Path(), **shape)
    normalization = fit("mean_std", images.train.images)
    train, test = (
        Images(split, normalization, device, channels_last=conf.hardware.channels_last)
        for split in (images.train, images.test)
    )
    data = Data(train, test, None, shape["channels"], shape["image_size"], images.classes)
    half = conf.hardware.precision == "bfloat16"
    task = Classification(Setting(device, 0, conf.batch_size, load_data=lambda: (data, None), bfloat16=half))

    report = Report(conf, device)
    for name in conf.only or conf.optimizers:
        print(f"measuring {name}", flush=True)
        report.steps |= step_costs(conf, task, name)
        report.floor_ms = report.steps[name].floor_ms
        yield report
    if conf.yardsticks:
        report.yardsticks = compared(conf, task, images.train)
        yield report
    if conf.whole_run is not None:
        report.whole = whole_run(conf, overrides)
        yield report
