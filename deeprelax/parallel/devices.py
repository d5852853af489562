"""`hydra/launcher=devices`: the jobs of a sweep side by side, each a process with a GPU of its own."""

from __future__ import annotations

import importlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from ..errors import Stopped, UserError
from ..records.directory import RunDirectory
from ..records.scores import cost
from .launch import command_for
from .processes import Processes

log = logging.getLogger(__name__)


def visible_devices() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them. Raises UserError if there are none."""
    import torch

    count = torch.cuda.device_count()
    if not count:
        raise UserError(
            "hydra/launcher=devices needs GPUs, and there are none here: leave it out, or use hydra/launcher=joblib"
        )
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return named.split(",")[:count] if named else [str(k) for k in range(count)]


@dataclass
class Job:
    """One run of the sweep: its overrides, its directory, and its process once it has been started."""

    overrides: list[str]
    directory: Path
    command: list[str]
    device: str = ""
    process: subprocess.Popen[bytes] | None = None
    errors: IO[bytes] | None = None

    def start(self, processes: Processes, device: str) -> None:
        self.device = device
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 -- `problem` closes it
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": device}
        self.process = processes.start(self.command, environment, stderr=self.errors)  # its output is in train.log

    @property
    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def problem(self) -> str:
        """The error message of an ended process; empty if it ended well."""
        assert self.process is not None
        assert self.errors is not None
        self.errors.seek(0)
        lines = [line for line in self.errors.read().decode(errors="replace").splitlines() if line.strip()]
        self.errors.close()
        if not self.process.returncode:
            return ""
        own = [line for line in lines if line.startswith("deeprelax: ")]
        return (own or lines or [f"status {self.process.returncode}"])[-1].removeprefix("deeprelax: ")


class DevicesLauncher(Launcher):
    """As many jobs at once as there are GPUs. A job that fails does not stop the others."""

    __module__ = "hydra_plugins.deeprelax"  # as `register` has it: nothing is installed there

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.loader, self.config = hydra_context.config_loader, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        devices = visible_devices()
        jobs = [self._job(list(overrides)) for overrides in job_overrides]
        log.info("%d jobs on %d devices, %d at once", len(jobs), len(devices), min(len(jobs), len(devices)))
        problems = run_jobs(jobs, devices)
        if problems:
            lines = [f"  {' '.join(job.overrides)}: {problem}" for job, problem in problems]
            headline = f"{len(problems)} of {len(jobs)} jobs failed; the same command does what is missing:"
            raise UserError("\n".join([headline, *lines]), resumes=True)
        return [_returned(job) for job in jobs]

    def _job(self, overrides: list[str]) -> Job:
        """The job as a run of its own, in the directory that the sweep gives it."""
        sweep = self.loader.load_sweep_config(self.config, overrides).hydra.sweep
        directory = Path(str(sweep.dir)) / str(sweep.subdir)
        sources = self.config.hydra.runtime.config_sources
        own = [argument for s in sources if s.provider == "command-line" for argument in ("--config-dir", s.path)]
        quoted = str(directory).replace("\\", "\\\\").replace("'", "\\'")
        here = ["hydra.mode=RUN", f"hydra.run.dir='{quoted}'"]
        return Job(overrides, directory, command_for("deeprelax", "train", *own, *overrides, *here))


def run_jobs(jobs: list[Job], devices: list[str]) -> list[tuple[Job, str]]:
    """Run all, each on a device that no other has; returns those that failed, with their messages.

    A signal is passed on, and when the running jobs have stopped Stopped is raised.
    """
    waiting, free, problems = list(jobs), list(devices), []
    running: list[Job] = []
    with Processes() as processes:
        while running or (waiting and processes.asked is None):
            while waiting and free and processes.asked is None:
                job = waiting.pop(0)
                device = free.pop(0)
                try:
                    job.start(processes, device)
                except OSError as error:
                    problems.append((job, f"it could not be started: {error}"))
                    free.append(device)
                    continue
                log.info("device %s: %s", job.device, " ".join(job.overrides))
                running.append(job)
            processes.wait_a_moment()
            for job in [job for job in running if job.ended]:
                running.remove(job)
                free.append(job.device)
                problem = job.problem()
                if problem:
                    problems.append((job, problem))
                log.info("device %s: %s %s", job.device, "failed:" if problem else "done:", job.directory)
    if processes.asked is not None:
        raise Stopped(processes.asked)
    return problems


def _returned(job: Job) -> JobReturn:
    directory = RunDirectory(job.directory)
    result: dict[str, Any] = json.loads(directory.result.read_bytes())
    returned = JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED)
    returned.return_value = cost(result, directory.score_metrics())
    return returned


def register() -> None:
    """Make the launcher known to Hydra.

    One of two places where Hydra is fought: it looks for plugins in the package hydra_plugins alone, and imports them
    by their module's name, so this module pretends to lie there. (The other is OPTION in configuration/hydra_app.py.)
    """
    Plugins.instance().register(DevicesLauncher)
    try:
        package = importlib.import_module("hydra_plugins")  # of whatever plugins are installed
    except ModuleNotFoundError:
        package = sys.modules["hydra_plugins"] = ModuleType("hydra_plugins")
        package.__path__ = []
    setattr(package, DevicesLauncher.__module__.rpartition(".")[2], sys.modules[__name__])
