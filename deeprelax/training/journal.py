"""Show what a run does: records and their curves, the log, and a progress bar on a terminal."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ..records.metrics import Number, Records
from ..tasks.task import Task
from .average import SUFFIX
from .cadence import Budget
from .clipping import Clip
from .stepper import Stepper

log = logging.getLogger(__name__)
MOST = 1024  # losses that wait one by one
BAR = "{desc} |{bar}| {percentage:3.0f}% {rate_fmt} {elapsed}<{remaining}{postfix}"


class Progress:
    """A tqdm bar in examples with passes, loss and score; nothing where standard error is not a terminal."""

    def __init__(self, budget: Budget, evaluations: int, unit: str, *, show: bool = True) -> None:
        self._budget = budget
        self._bar = tqdm(
            total=budget.taken * budget.batch_size, initial=evaluations * budget.batch_size, unit=unit, unit_scale=True,
            bar_format=BAR, disable=None if show else True, leave=False, dynamic_ncols=True,
        )  # fmt: skip
        self._shown: dict[str, str] = {}

    def advance(self, evaluations: int) -> None:
        """The evaluations done so far."""
        if not self._bar.disable:
            self._bar.set_description_str(f"pass {self._budget.passes(evaluations):.2f}/{self._budget.epochs:g}", False)
            self._bar.update(evaluations * self._budget.batch_size - self._bar.n)

    def show(self, **values: str) -> None:
        """Values beside the bar, kept until they change."""
        self._shown |= values
        self._bar.set_postfix(self._shown, refresh=False)

    def close(self) -> None:
        self._bar.close()


class Losses:
    """The sum and the number of finite losses. They wait on the device, a copy each, until somebody asks."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sum, self._count = 0.0, 0
        self._latest: list[Tensor] = []  # of no dimension
        self._older: list[Tensor] = []  # MOST to a tensor: each of its own takes hundreds of bytes of a GPU

    def keep(self, loss: Tensor) -> None:
        """One more, a 0-dim tensor, which may be overwritten."""
        self._latest.append(loss.detach().clone())
        if len(self._latest) == MOST:
            self._older.append(torch.stack(self._latest))
            self._latest = []

    def take(self) -> tuple[float, int]:
        """Both, of all since the last call. Waits for the device."""
        self._add()
        found = self._sum, self._count
        self._sum, self._count = 0.0, 0
        return found

    def _add(self) -> None:
        """In their order, in double precision."""
        kept = [*self._older, torch.stack(self._latest)] if self._latest else self._older
        for loss in torch.cat(kept).tolist() if kept else []:
            if math.isfinite(loss):
                self._sum, self._count = self._sum + loss, self._count + 1
        self._older, self._latest = [], []

    def state(self) -> dict[str, Tensor]:
        """Both, as tensors on the device. Waits for it."""
        self._add()
        return {
            "loss_sum": torch.tensor(self._sum, dtype=torch.float64, device=self._device),
            "loss_count": torch.tensor(self._count, device=self._device),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """What `state` returned."""
        self._sum, self._count = float(state["loss_sum"]), int(state["loss_count"])


class Journal:
    """Keeps the loss since the last record, on the device; the main rank's writes it down."""

    def __init__(
        self, directory: Path, budget: Budget, task: Task, *, main: bool = True, clip: Clip | None = None
    ) -> None:
        self._directory, self._budget, self._main, self._clip = directory, budget, main, clip
        self._task = task
        self._losses = Losses(task.setting.device)
        self._records_state: dict[str, Any] | None = None
        self._records: Records | None = None

    def open(self, evaluations: int) -> None:
        """Begin, or resume behind what `load_state` was given. Raises UserError if the records are not those."""
        if self._main:
            self._records = Records(self._directory, self._records_state, evaluations)
        self._progress = Progress(self._budget, evaluations, self._task.abbreviation, show=self._main)

    def close(self) -> None:
        self._progress.close()
        if self._records is not None:
            self._records.close()

    def count(self, loss: Tensor, evaluations: int) -> None:
        """One more step. A loss that is not finite, of a step that is skipped, is not counted."""
        self._losses.keep(loss)
        self._progress.advance(evaluations)

    def record(self, optimizer: Stepper, skipped: int | None, counts: dict[str, Number]) -> None:
        """The steps since the last record. `skipped` is None where a step that is not finite ends the run."""
        total, counted = self._losses.take()
        values: dict[str, Number] = {"inner_loss": total / counted} if counted else {}
        values |= optimizer.scalars()
        norm = optimizer.direction_norm().item()
        values |= {"direction_norm": norm} if math.isfinite(norm) else {}
        values |= {"skipped": skipped} if skipped is not None else {}
        if self._clip is not None and (share := self._clip.share()) is not None:
            values["clipped"] = share
        self._write("train", values, counts)
        if counted:
            self._progress.show(loss=f"{values['inner_loss']:.4f}")

    def evaluated(self, scores: dict[str, dict[str, float]], counts: dict[str, Number]) -> None:
        """Scores of x, and of its average, on the splits that there are; "train" is the kind of records of steps."""
        for name, kind in (("train", "training"), ("test", "test"), ("validation", "validation")):
            if name in scores:
                self._write(kind, dict(scores[name]), counts)
        name, metric = next(iter(self._task.metrics.items()))
        self._progress.show(**{name: metric.show(scores["test"][name], gap="")})
        shown = [f"pass {counts['passes']:.4g}/{self._budget.epochs:g}", f"test loss {scores['test']['loss']:.4f}"]
        for split, found in scores.items():
            if split != "train":
                mean = found.get(f"{name}{SUFFIX}")
                beside = f" (average {metric.show(mean)})" if mean is not None else ""
                shown.append(f"{split} {name} {metric.show(found[name])}{beside}")
        log.info("  ".join(shown))

    def end(self, configuration: dict[str, Any], scores: dict[str, dict[str, float]]) -> None:
        """The row of TensorBoard's table of hyper-parameters."""
        if self._records is not None:
            first = next(iter(self._task.metrics))
            shown = {
                f"{split}/{name}": value
                for split, found in scores.items()
                for name, value in found.items()
                if split != "train" and name in (first, f"{first}{SUFFIX}")
            }
            self._records.hyper_parameters(configuration, shown)

    def _write(self, kind: str, values: dict[str, Number], counts: dict[str, Number]) -> None:
        if self._records is not None:
            self._records.write(kind, counts, values)

    def state(self) -> dict[str, Any]:
        records = self._records.state() if self._records is not None else self._records_state
        clipped = {"clipped": self._clip.counts} if self._clip is not None else {}
        return {**self._losses.state(), "records": records} | clipped

    def load_state(self, state: dict[str, Any]) -> None:
        self._losses.load_state(state)
        self._records_state = state["records"]
        if self._clip is not None:
            self._clip.load(state.get("clipped"))
