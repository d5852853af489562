"""The directory of a run: the name of every file in it, and how `force` replaces an earlier run."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError
from ..files import LOCK, corrupt, read_json
from ..tasks.metric import Metric
from .scores import of_provenance

CHECKPOINT, PREVIOUS, CORRUPT = "checkpoint.pt", "checkpoint.previous.pt", "checkpoint.damaged.pt"
BEST, PREVIOUS_BEST = "best.pt", "best.previous.pt"  # weights of the best evaluation, with train.keep=best
LANDSCAPES = ("1d", "2d", "line", "plane", "trajectory")  # of `deeprelax landscape`
BACKUP = ".replaced"  # in the run's directory: what `force` is about to replace


class RunDirectory:
    """The files of a run; none of them need be there.

    result.json is written last and marks completion. config.yaml, written first, makes a directory that of a run.
    overrides.yaml lists what the command, or in a sweep the job, was given.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config, self.result = path / "config.yaml", path / "result.json"
        self.overrides = path / "overrides.yaml"
        self.provenance, self.log = path / "provenance.json", path / "train.log"
        self.split = path / "split.json"  # of a folder of images that the run has split: its files by part
        self.model = path / "model.json"
        self.flatness = path / "flatness.json"
        self.metrics, self.tensorboard = path / "metrics.jsonl", path / "tensorboard"
        self.checkpoint, self.previous, self.corrupt = path / CHECKPOINT, path / PREVIOUS, path / CORRUPT
        self.best = path / BEST

    def log_of(self, rank: int) -> Path:
        """What a rank other than the main one wrote to standard error, if anything."""
        return self.path / f"rank-{rank}.log"

    @property
    def _replaced_by(self) -> Path:
        return self.path / ".replaced_by"

    @property
    def written(self) -> list[Path]:
        """All that a run writes. Whatever else lies in the directory is somebody's."""
        return [
            self.result,
            self.checkpoint,
            self.previous,
            self.corrupt,
            self.path / f"{CHECKPOINT}.new",  # half-written when the process was killed
            self.best,
            self.path / PREVIOUS_BEST,
            self.path / f"{BEST}.new",
            self.metrics,
            self.config,
            self.overrides,
            self.provenance,
            self.log,
            *sorted(self.path.glob("rank-[0-9]*.log")),
            self.tensorboard,
            self.split,
            self.model,
            self._replaced_by,
            self.flatness,
            self.path / "flatness.png",
            self.path / "confusion.png",  # of task=classification and task=bayesian
            self.path / "solution.png",  # of task=pinn
            *(self.path / f"landscape_{what}.{kind}" for what in LANDSCAPES for kind in ("png", "pdf", "npz")),
        ]

    @property
    def finished(self) -> bool:
        return self.result.exists()

    @property
    def has_checkpoint(self) -> bool:
        """Has the run reached one?"""
        return self.checkpoint.exists() or self.previous.exists()

    @property
    def can_resume(self) -> bool:
        """Would the run's own command resume it, or an earlier run that is backed up, instead of a restart?"""
        return self.has_checkpoint or (self.path / BACKUP).exists()

    def score_metrics(self) -> dict[str, Metric]:
        """How the scores in result.json are to be read. Raises UserError if provenance.json is corrupt.

        A run whose provenance does not tell was made before there were other tasks than classification.
        """
        content = read_json(self.provenance) if self.provenance.exists() else {}
        try:
            return of_provenance(content)
        except ValueError:
            raise corrupt(self.provenance) from None

    def shown(self) -> str:
        """For messages: relative to the working directory, if it lies below."""
        here = Path.cwd()
        return str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)

    @property
    def replaced_by(self) -> str | None:
        """The name of the job that has replaced an earlier run by this one, if any did."""
        return self._replaced_by.read_text() if self._replaced_by.exists() else None

    @contextlib.contextmanager
    def replacing(self, job: str | None = None) -> Iterator[None]:
        """Within the `with` a new run replaces an earlier one, whose files are backed up; `job` is remembered.

        They are deleted once the new run has a checkpoint, and restored if it ends before that.
        """
        backup = RunDirectory(self.path / BACKUP)
        if backup.path.exists() and not self.has_checkpoint:
            self.delete()  # of a new run that was killed before its checkpoint: the one to restore is still backed up
        else:
            shutil.rmtree(backup.path, ignore_errors=True)
            self.move_to(backup)
        if job is not None:
            self._replaced_by.write_text(job)
        try:
            yield
        finally:
            if not self.has_checkpoint:
                backup.move_to(self)
            shutil.rmtree(backup.path, ignore_errors=True)

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Within the `with` a run begins or resumes. One that it has replaced goes: a kill may have left its files."""
        if self.has_checkpoint:
            shutil.rmtree(self.path / BACKUP, ignore_errors=True)
        yield

    def move_to(self, other: RunDirectory) -> None:
        """Put what this run has written, if anything, in the place of what the other has."""
        pairs = [(mine, other.path / mine.name) for mine in self.written if mine.exists()]
        if not pairs:
            return
        other.path.mkdir(exist_ok=True)
        other.delete()
        for mine, its in pairs:
            mine.rename(its)

    @contextlib.contextmanager
    def unless_refused(self) -> Iterator[None]:
        """Within the `with` a run begins; if it is refused before it trains, nothing of it is left but the directory.

        Refused is what raises a UserError, but for one after which the same command resumes, before provenance.json is
        there. An earlier run in the directory, or what was left of one, stays.
        """
        before = any(path.exists() for path in (*self.written, self.path / BACKUP))
        try:
            yield
        except UserError as problem:
            if not (before or problem.resumes or self.provenance.exists()):
                self.delete_all()
            raise

    def delete(self) -> None:
        """Delete what the run has written."""
        for path in self.written:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def delete_all(self) -> None:
        """Delete what the run has written, and the lock, which the caller holds."""
        self.delete()
        (self.path / LOCK).unlink(missing_ok=True)


def named(key: str, given: str, seed: int) -> RunDirectory:
    """The run that a key names, by its directory or the one above its seeds'. Raises UserError if it is none."""
    path = Path(given).expanduser()
    of_seed = path / f"seed-{seed}"
    above = of_seed.is_dir() and not RunDirectory(path).config.exists()
    found = RunDirectory(of_seed if above else path)
    if not found.config.exists():
        if not above and any(path.glob("seed-*/config.yaml")):
            raise UserError(f"{key}={path} holds no run of seed {seed}: train that first, or leave the seed out")
        raise UserError(f"{key}={found.path} is not the directory of a run: give the one that the run printed")
    return found
