"""Run a Hydra application inside a sub-command, with our run directories and our error messages.

Hydra is used against its grain in six places, each explained where it stands: it would print its own messages instead
of raising, and its own help (`run`), put its own text before the error of a job (`Jobs`), refuse free keys without ++
(FREE_KEY), refuse overrides behind a flag (`slips.apart`), and know nothing of presets for other rules, of earlier runs
and of keys that the jobs of a sweep alone have (`Loader`).
"""

from __future__ import annotations

import functools
import os
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra._internal import hydra as hydra_internal
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import UserError, trim
from ..files import remove_empty
from ..parallel import devices
from ..records.directory import RunDirectory
from . import check, continued, run_name, slips, usage
from .messages import explain, keys_below, not_started, swept_over
from .schema import configuration_folder

Job = Callable[[DictConfig], Any]
# Keys of free dictionaries. Hydra sets a key that configs/ does not have only with + or ++ before it, so that users
# would have to know which keys are ours; ++ also replaces those that are there.
SWEEP = "of a job of a sweep"
FREE_KEY = re.compile(r"^((?:(?:task|dataset|model|optimizer)\.options|optimizers)\.|task\.domain[.=])")


class Loader(ConfigLoaderImpl):
    """Composes configurations, fits them to the rules of the optimizer and takes from a run that is continued.

    All this depends on values, and Hydra's defaults list on choices alone.
    """

    def load_configuration(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode, *args: Any, **keywords: Any
    ) -> DictConfig:
        """As Hydra's own, which also composes the jobs of a sweep by it."""

        def compose(overrides: list[str]) -> DictConfig:
            return super(Loader, self).load_configuration(config_name, overrides, run_mode, *args, **keywords)

        if config_name != "train":
            return compose(overrides)
        if run_mode != RunMode.MULTIRUN:
            return continued.composed(compose, overrides)
        try:
            return continued.composed(compose, overrides, sweeps=True)
        except (HydraException, OmegaConfBaseException):
            # Hydra composes a sweep without what is swept over: optimizer.sigma=1 is of no choice then. Of which of the
            # jobs it is, composing these tells
            return continued.under(
                continued.composed(compose, continued.shallow(overrides), sweeps=True), continued.of_task(overrides)
            )

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """As Hydra's own. Its sweepers compose each job before the first one starts, to find mistakes: noted there."""
        try:
            return super().load_sweep_config(master_config, sweep_overrides)
        except (HydraException, OmegaConfBaseException) as error:
            error.add_note(SWEEP)
            folder = Path(master_config.hydra.sweep.dir)
            if [file.name for file in folder.glob("*")] == ["multirun.yaml"]:  # of Hydra's; nothing has run here
                (folder / "multirun.yaml").unlink()
                remove_empty(folder, Path(run_name.run_root(master_config)))
            raise


def register() -> None:
    """Register the schema, the resolvers of configs/*.yaml and the loader.

    Called on import, not by `run`: the worker processes of launchers import this module to unpickle a job, and need the
    resolvers for its configuration.
    """
    check.register()
    hydra_internal.ConfigLoaderImpl = Loader  # type: ignore[attr-defined]
    for name, resolver in [
        ("run_root", run_name.run_root),
        ("run_family", run_name.run_family),
        ("run_name", run_name.run_name),
    ]:
        OmegaConf.register_new_resolver(name, lambda _root_, f=resolver: f(_root_), replace=True)


register()


@dataclass
class Jobs:
    """Counts the jobs started in this process and collects the failed ones: overrides, directory, error.

    Where a job raises, Hydra prints a text of its own before the message, and of a sweep it raises the first error
    alone. So a job that fails returns None, and `raise_failures` raises when all have run.
    """

    started: int = 0
    failed: list[tuple[str, Path, UserError]] = field(default_factory=list)
    crashed: Exception | SystemExit | None = None  # what a single run raised
    process: int = field(default_factory=os.getpid)

    def run(self, job: Job, config: DictConfig) -> Any:
        """Run a job; keep the error of one that fails, so that the others run all the same."""
        self.started += 1
        try:
            return job(config)
        except UserError as error:
            directory = Path(HydraConfig.get().runtime.output_dir)
            remove_empty(directory, Path(run_name.run_root(config)).absolute())  # Hydra has made it
            if os.getpid() != self.process:
                raise  # in a launcher's worker process, whose Jobs is a copy: only an exception gets back
            problem = error
        except (Exception, SystemExit) as error:
            if os.getpid() != self.process:
                raise
            if HydraConfig.get().mode == RunMode.RUN:
                self.crashed = error
                return None
            trim(error)
            traceback.print_exc()  # a bug, ours or of the user's own classes, must not end the rest of the sweep
            first, *_ = str(error).strip().splitlines() or [""]
            problem = UserError(f"{type(error).__name__}: {first}")
        running = HydraConfig.get()
        overrides = " ".join(running.overrides.task) if running.mode != RunMode.RUN else ""
        self.failed.append((overrides, Path(running.runtime.output_dir), problem))
        return None  # raising here would let Hydra put its own text before the message

    def raise_failures(self) -> None:
        """Raise the error of a single run, or a UserError that lists those of a sweep; return if nothing failed."""
        if self.crashed is not None:
            raise self.crashed
        for overrides, _, problem in self.failed:
            if not overrides:  # not a sweep
                raise problem
        if self.failed:
            lines = [f"{len(self.failed)} of {self.started} jobs failed; the same command does what is missing:"]
            for overrides, directory, problem in self.failed:
                file = RunDirectory(directory).log
                lines.append(f"  {overrides}: {problem}" + (f" (log: {file})" if file.exists() else ""))
            raise UserError("\n".join(lines), resumes=True)


def run(name: str, job: Job, arguments: list[str], command: str | None = None) -> None:
    """Compose configs/<name>.yaml with the arguments and run the job, or with -m one job for each combination.

    command: what was called, where its name is not that of the configuration.

    Raises UserError for what Hydra or OmegaConf refuses, and for jobs that raised it; other exceptions of a single job
    pass through. With HYDRA_FULL_ERROR=1 in the environment errors of composition pass through as they are.
    """
    words, flags = slips.apart(arguments)
    options = slips.options(flags)
    configured = functools.partial(_configured, name, words, options.config_dir)
    slips.refuse_flags(arguments, configured)
    slips.refuse_spaces(words)
    overrides = [free(slips.with_infinity(each)) for each in words]
    user_wants_traces = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Without it Hydra catches every exception, prints a message with a shortened traceback, and exits with status 1
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # hydra.main reads the arguments from sys.argv alone
    sys.argv = [f"deeprelax {command or name}", *overrides, *flags]
    folder = str(configuration_folder())
    devices.register()
    jobs = Jobs()

    def run_job(config: DictConfig) -> Any:
        return jobs.run(job, config)

    try:
        if options.help:  # Hydra's own lists every folder of configs/ by composing again, which takes seconds
            print(usage.text(options.config_name or name, overrides, options.config_dir))
            return
        hydra.main(version_base="1.3", config_path=folder, config_name=name)(run_job)()
    except (HydraException, OmegaConfBaseException) as error:
        if user_wants_traces:
            raise
        if command == "find-lr" and (swept := swept_over(error)):
            raise UserError(f"{swept} is a sweep, and find-lr tests one value: call it for each") from None
        said = explain(error, functools.partial(_below, configured, overrides))
        of_job = SWEEP in getattr(error, "__notes__", ()) and not jobs.started
        raise UserError(said + (not_started(error) if of_job else "")) from None
    except (ValueError, AssertionError, AttributeError, TypeError, RuntimeError) as error:
        jobs.raise_failures()  # a sweeper that searches trips over jobs that brought it no number
        if jobs.started or user_wants_traces or isinstance(error, UserError):
            raise
        # No job has started, so the error is Hydra's: a ValueError for flags that do not go together, or whatever its
        # code trips over when a group is set to a plain value
        raise UserError(f"the arguments cannot be composed: {explain(error)}") from None
    jobs.raise_failures()


def free(override: str) -> str:
    """An override as Hydra reads it, with ++ before a key of a free dictionary."""
    return re.sub(FREE_KEY, r"++\1", override)


def _configured(name: str, words: list[str], config_dir: str | None) -> DictConfig | None:
    """The configuration that the choices among the overrides make, to look for keys in; None if they make none."""
    try:
        files = usage.choices(config_dir)
        return usage.composed(name, [word for word in words if files.has(run_name.key_of(word))], config_dir)
    except (HydraException, OmegaConfBaseException, UserError):
        return None


def _below(configured: Callable[[], DictConfig | None], overrides: list[str], key: str) -> list[str]:
    """What may be meant by an override of a key that is not there, but one level down: optimizer.lr=0.1 for lr=0.1."""
    value = next((each.partition("=")[2] for each in overrides if run_name.key_of(each) == key), "VALUE")
    return [f"{found}={value}" for found in keys_below(configured(), key)]
