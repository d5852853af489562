"""A Hydra application inside a sub-command, with our run directories and our error messages."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import UserError
from ..parallel import devices
from ..records.directory import RunDirectory
from . import check, run_name
from .messages import explain, offered
from .schema import configuration_folder

Job = Callable[[DictConfig], Any]
OPTION = re.compile(
    r"^((?:(?:dataset|model|optimizer)\.options|optimizers)\.)"
)  # free keys, which Hydra takes with ++ only


WITH_A_VALUE = {
    "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd",
    "--shell-completion", "-sc", "--experimental-rerun",
}  # fmt: skip


def choices(*wanted: str) -> str:
    """One line for each of these groups of configs/: its choices."""
    folder = configuration_folder()
    return "\n".join(
        f"  {group}: {', '.join(sorted(offered(file.stem for file in (folder / group).glob('*.yaml'))))}"
        for group in wanted
    )


def register() -> None:
    """The schema and the resolvers of configs/*.yaml. Called on import: the workers of launchers import us too."""
    check.register()
    for name, resolver in [
        ("run_root", run_name.run_root),
        ("run_family", run_name.run_family),
        ("run_name", run_name.run_name),
    ]:
        OmegaConf.register_new_resolver(name, lambda _root_, f=resolver: f(_root_), replace=True)
    OmegaConf.register_new_resolver("choices", choices, replace=True)
    OmegaConf.register_new_resolver("configuration_folder", lambda: str(configuration_folder()), replace=True)


register()


@dataclass
class Jobs:
    """How the jobs of this process have fared: the failed ones with their overrides and directories."""

    begun: int = 0
    failed: list[tuple[str, Path, UserError]] = field(default_factory=list)

    def raise_failures(self) -> None:
        """UserError with the one problem of a single run, or a table of those of a sweep."""
        for overrides, _, problem in self.failed:
            if not overrides:
                raise problem
        if self.failed:
            lines = [f"{len(self.failed)} of {self.begun} jobs failed; the same command does what is missing:"]
            for overrides, directory, problem in self.failed:
                file = RunDirectory(directory).log
                lines.append(f"  {overrides}: {problem}" + (f" (log: {file})" if file.exists() else ""))
            raise UserError("\n".join(lines), resumes=True)


def run(name: str, job: Job, arguments: list[str]) -> None:
    """Compose configs/<name>.yaml with the arguments and run the job, or one job for each combination with -m.

    Raises UserError for whatever Hydra or OmegaConf refuses.
    """
    user_wants_traces = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let exceptions through: the messages are ours
    sys.argv = [f"deeprelax {name}", *(re.sub(OPTION, r"++\1", word) for word in flags_first(arguments))]
    folder = str(configuration_folder())
    devices.register()
    jobs = Jobs()
    own_process = os.getpid()

    def guarded(config: DictConfig) -> Any:
        jobs.begun += 1
        try:
            return job(config)
        except UserError as error:
            directory = Path(HydraConfig.get().runtime.output_dir)
            _remove_empty(directory, Path(run_name.run_root(config)).absolute())
            if os.getpid() != own_process:
                raise  # a launcher's worker: nothing else comes back from there
            problem = error
        except (Exception, SystemExit) as error:
            if os.getpid() != own_process or HydraConfig.get().mode == RunMode.RUN:
                raise
            traceback.print_exc()  # a bug, ours or of the user's own classes; the other jobs go on all the same
            first, *_ = str(error).strip().splitlines() or [""]
            problem = UserError(f"{type(error).__name__}: {first}")
        running = HydraConfig.get()
        overrides = " ".join(running.overrides.task) if running.mode != RunMode.RUN else ""
        jobs.failed.append((overrides, Path(running.runtime.output_dir), problem))
        return None  # raised in here, Hydra would add words of its own

    try:
        hydra.main(version_base="1.3", config_path=folder, config_name=name)(guarded)()
    except (HydraException, OmegaConfBaseException) as error:
        if user_wants_traces:
            raise
        raise UserError(explain(error)) from None
    except (ValueError, AssertionError, AttributeError, TypeError, RuntimeError) as error:
        if jobs.begun or user_wants_traces or isinstance(error, UserError):
            raise
        # Hydra's own complaints about its flags, and what it trips over when a group is set to a plain value
        raise UserError(f"the arguments cannot be composed: {explain(error)}") from None
    jobs.raise_failures()


def flags_first(arguments: list[str]) -> list[str]:
    """Hydra's flags before the overrides: it reads no override behind a flag that follows one."""
    flags: list[str] = []
    overrides: list[str] = []
    takes_a_value = False
    for word in arguments:
        (flags if word.startswith("-") or takes_a_value else overrides).append(word)
        takes_a_value = word in WITH_A_VALUE
    return flags + overrides


def _remove_empty(directory: Path, above: Path) -> None:
    """Remove the directory that Hydra made for a job that never began, and its empty parents inside `above`."""
    while directory.is_relative_to(above) and directory != above:
        try:
            directory.rmdir()
        except OSError:  # not empty: somebody's
            return
        directory = directory.parent
