"""Format the benchmark as a table and as bench.json."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import torch

from ..configuration.schema import BenchConf
from ..tables import aligned
from .steps import StepCost, beside_name
from .timing import Ratio
from .whole import WholeRun

HEADING = (
    "cost of a gradient evaluation over the floor", "alone", "(quartiles)", "with data", "images/s", "copies", "",
)  # fmt: skip
FEEDING = (
    "DataLoader: one image at a time, through torchvision's transforms. In memory, as in our loop: the images as one\n"
    "tensor, a batch by its indices. Theirs are contiguous, ours is in channels_last; all keep freed memory."
)


@dataclass(slots=True)
class Report:
    """What was measured; parts that were skipped are None or empty."""

    conf: BenchConf
    device: torch.device
    floor_ms: float = 0.0
    steps: dict[str, StepCost] = field(default_factory=dict)  # by row, and `beside_name` for those measured beside one
    yardsticks: dict[str, Ratio] = field(default_factory=dict)  # over our own loop
    whole: WholeRun | None = None

    def setting(self) -> dict[str, Any]:
        """Network, data and batch size measured, hardware and versions."""
        cuda = self.device.type == "cuda"
        return {
            "model": self.conf.model.name,
            "images": self.conf.dataset.name,
            "batch_size": self.conf.batch_size,
            "precision": self.conf.hardware.precision,
            "device": torch.cuda.get_device_name(self.device) if cuda else _cpu(),
            "threads": torch.get_num_threads(),
            "repeats": self.conf.repeats,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "torchvision", "deeprelax")},
        }

    def content(self) -> dict[str, Any]:
        """The content of bench.json.

        "ratios" is the cost of a gradient evaluation over that of a bare forward and backward pass, "ratios_with_data"
        the same with a training run's batches; both medians over the repeats. "over_beside" is by how much a row is
        over the one measured beside it: the median difference of their ratios in a round.
        """
        return {
            "setting": self.setting(),
            "floor_milliseconds": self.floor_ms,
            "ratios": {name: cost.alone.median for name, cost in self.steps.items()},
            "ratios_quartiles": {name: list(cost.alone.quartiles) for name, cost in self.steps.items()},
            "ratios_with_data": {name: cost.fed.median for name, cost in self.steps.items()},
            "over_beside": {
                name: {"other": other, "alone": alone, "with_data": fed} for name, other, alone, fed in self._over()
            },
            "images_per_second": {name: cost.images_per_second for name, cost in self.steps.items()},
            "copies_of_the_weights": {name: cost.copies for name, cost in self.steps.items()},
            "peak_megabytes": {name: cost.peak_megabytes for name, cost in self.steps.items()},
            "yardsticks": {name: ratio.median for name, ratio in self.yardsticks.items()},
            "whole_run": None if self.whole is None else _whole(self.whole),
        }

    def table(self) -> str:
        """The table for the terminal; costs are ratios to the floor."""
        setting = self.setting()
        layout = " in channels_last" if self.conf.hardware.channels_last else ""
        replayed = " as a CUDA graph" if self.conf.hardware.cuda_graphs else ""
        lines = [
            "  ".join(f"{key} {value}" for key, value in list(setting.items())[:5]),
            "  ".join(f"{key} {value}" for key, value in list(setting.items())[5:]),
            f"floor: one bare forward and backward pass{layout}{replayed}, {self.floor_ms:.2f} ms",
            "",
            *aligned([HEADING, *(_cells(name, cost) for name, cost in self.steps.items())], "<><>>><"),
            "",
            *self._rest(),
        ]
        return "\n".join(lines)

    def _over(self) -> Iterator[tuple[str, str, float, float]]:
        """Of each row with another beside it: its name, the other's, and `Ratio.over` alone and fed."""
        for name, row in self.conf.optimizers.items():
            if name in self.steps and "beside" in row:
                ours, other = self.steps[name], self.steps[beside_name(name, row)]
                yield name, row["beside"], ours.alone.over(other.alone), ours.fed.over(other.fed)

    def _rest(self) -> list[str]:
        """The lines below the table: rows over those beside them, yardsticks, the whole run."""
        lines = [
            f"{name} over {other}, round by round: {alone:+.3f} alone, {fed:+.3f} with data"
            for name, other, alone, fed in self._over()
        ]
        if self.yardsticks:
            rows = [(f"  {name}", f"{ratio.median:.2f}") for name, ratio in self.yardsticks.items()]
            lines += [*aligned([("loops as public code has them", "times the time of ours"), *rows], "<>"), FEEDING]
        if self.whole is not None:
            values = _whole(self.whole)
            lines.append(
                f"deeprelax train, {self.conf.whole_run:g} passes, {self.whole.evaluations} evaluations: "
                f"{values['process_over_floor']:.3f} times their bare cost "
                f"({values['loop_over_floor']:.3f} without imports and loading)"
            )
        return lines


def _cells(name: str, cost: StepCost) -> list[str]:
    """A row below HEADING."""
    low, high = cost.alone.quartiles
    return [
        f"  {name}, {cost.inner_steps} gradients a step",
        f"{cost.alone.median:.3f}",
        f"({low:.3f}-{high:.3f})",
        f"{cost.fed.median:.3f}",
        f"{cost.images_per_second:.0f}",
        f"{cost.copies:.1f}",
        f"peak {cost.peak_megabytes:.0f} MB" if cost.peak_megabytes else "",
    ]


def _whole(run: WholeRun) -> dict[str, float]:
    return {
        "evaluations": run.evaluations,
        "process_over_floor": run.process_seconds / run.floor_seconds,
        "loop_over_floor": run.loop_seconds / run.floor_seconds,
        "process_seconds": run.process_seconds,
    }


def _cpu() -> str:
    """The processor's model name."""
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        models = []
    return models[0] if models else platform.processor() or "cpu"
