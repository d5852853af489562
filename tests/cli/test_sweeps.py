"""Test the sweeps of configs/sweep: their runs, the directories and the cost of these."""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from deeprelax.configuration.hydra_app import configuration_folder
from deeprelax.configuration.schema import TrainConf

Command = Callable[..., tuple[int, str, str]]
FOLDER = configuration_folder() / "sweep"
SWEEPS = sorted(file.stem for file in FOLDER.glob("*.yaml"))
TUNING = [name for name in SWEEPS if name.startswith("tune_")]
OPTIMIZERS = {"sgd", "entropy_sgd", "hj", "heat"}


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[TrainConf, Path]]:
    """The configurations that `deeprelax train` would have trained, with their directories."""
    runs: list[tuple[TrainConf, Path]] = []

    def run(conf: TrainConf, config: DictConfig, directory: Path, overrides: Sequence[str]) -> dict[str, Any]:
        runs.append((conf, directory))
        return {"test_error": 1.0}

    monkeypatch.setattr("deeprelax.commands.train.run", run)
    return runs


def test_paper_mnist_is_networks_times_optimizers_times_seeds(
    deeprelax: Command, planned: list[tuple[TrainConf, Path]], tmp_path: Path
) -> None:
    status, _, err = deeprelax("train", "-m", "+sweep=paper_mnist", "seed=1")
    assert (status, err) == (0, "")
    assert {(c.model.name, c.optimizer.name, c.seed) for c, _ in planned} == set(
        itertools.product({"lenet", "mlp"}, OPTIMIZERS, {1})
    )
    assert len(planned) == 8
    by_name = {(c.model.name, c.optimizer.name): c for c, _ in planned}
    assert by_name["lenet", "entropy_sgd"].optimizer.gamma == 1e4  # type: ignore[attr-defined]
    assert by_name["lenet", "entropy_sgd"].schedule.milestones == [40]
    assert by_name["lenet", "sgd"].schedule.milestones == [30, 60, 90]  # each has its preset
    assert tmp_path / "outputs/paper_mnist/paper_lenet/optimizer-hj/seed-1" in {directory for _, directory in planned}


def test_the_command_line_replaces_what_a_sweep_says(
    deeprelax: Command, planned: list[tuple[TrainConf, Path]], tmp_path: Path
) -> None:
    words = ["+sweep=paper_mnist", "experiment=paper_lenet", "optimizer=hj_proximal", "epochs=2", "seed=7"]
    assert deeprelax("train", *words)[0] == 0  # a sweep without -m too
    ((conf, directory),) = planned
    assert (conf.model.name, conf.optimizer.name, conf.epochs, conf.seed) == ("lenet", "hj_proximal", 2.0, 7)
    assert directory == tmp_path / "outputs/paper_mnist/paper_lenet/optimizer-hj_proximal+epochs-2/seed-7"


def params_of(name: str) -> dict[str, list[str]]:
    content = OmegaConf.load(FOLDER / f"{name}.yaml")
    return {str(key): str(value).split(",") for key, value in content.hydra.sweeper.params.items()}


def runs_of(name: str) -> int:
    return math.prod(map(len, params_of(name).values()))


@pytest.mark.parametrize("name", SWEEPS)
def test_headers_state_the_number_of_runs_and_their_passes(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text()
    header = "".join(line[1:] for line in text.splitlines() if line.startswith("# "))
    experiments = params_of(name)["experiment"]
    each = runs_of(name) // len(experiments)
    own = OmegaConf.load(FOLDER / f"{name}.yaml").get("epochs")
    files = [FOLDER.parent / "experiment" / f"{experiment}.yaml" for experiment in experiments]
    epochs = [own or OmegaConf.load(file).epochs for file in files]
    assert re.search(rf"= {runs_of(name)} runs\b", header)
    assert f" {each * sum(epochs):,} passes" in header


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_runs_in_a_folder_of_its_name(
    name: str, deeprelax: Command, planned: list[tuple[TrainConf, Path]], tmp_path: Path
) -> None:
    first = [f"{key}={values[0]}" for key, values in params_of(name).items() if key not in ("experiment", "optimizer")]
    words = ["dataset.path=mine", "dataset.train_size=100"] if "jpeg" in name else first
    status, _, err = deeprelax("train", "-m", f"+sweep={name}", "optimizer=" + params_of(name)["optimizer"][0], *words)
    assert (status, err) == (0, "")
    assert all(directory.is_relative_to(tmp_path / "outputs" / name) for _, directory in planned)
    assert len({directory for _, directory in planned}) == len(planned) > 0
    for conf, _ in planned:
        assert conf.dataset.validation == (10000 if name.startswith("tune_") else 0)


@pytest.mark.parametrize("name", TUNING)
def test_tuning_has_seeds_of_its_own(name: str) -> None:
    reported = {seed for other in SWEEPS if other not in TUNING for seed in params_of(other)["seed"]}
    assert not set(params_of(name)["seed"]) & reported


def test_every_tuning_sweep_has_the_same_budget() -> None:
    assert len({(*params_of(name)["experiment"], runs_of(name)) for name in TUNING}) == 1


def test_the_readmes_command_makes_its_sweep() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    lines = makefile.partition("\nreproduce:")[2].splitlines()
    assert "deeprelax train -m +sweep=reproduce" in lines[1]
    assert "deeprelax compare outputs/reproduce" in lines[2]


def test_launchers_that_are_not_installed_say_where_they_are(deeprelax: Command) -> None:
    status, _, err = deeprelax("train", "-m", "hydra/launcher=jobli", "seed=0,1")
    assert status == 1
    assert re.fullmatch(
        r"deeprelax: hydra/launcher=jobli is not a choice.*: one of basic, devices.* "
        r"\(more come with pip install 'deeprelax\[sweeps\]'\)\n",
        err,
    )


def test_a_search_needs_images_held_out(
    deeprelax: Command, planned: list[tuple[TrainConf, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without them it would choose by the test images."""
    plugins = Plugins.instance()  # it imports its own plugins once more: not the class that an import statement gives
    basic = plugins.class_name_to_class["hydra._internal.core_plugins.basic_sweeper.BasicSweeper"]
    search = type("Search", (basic,), {"__module__": "hydra_plugins.search"})
    package, module = ModuleType("hydra_plugins"), ModuleType("hydra_plugins.search")
    package.__path__ = []
    package.search, module.Search = module, search  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hydra_plugins", package)
    monkeypatch.setitem(sys.modules, "hydra_plugins.search", module)
    plugins.register(search)
    words = ["train", "-m", "hydra.sweeper._target_=hydra_plugins.search.Search", "optimizer=sgd", "seed=0,1"]
    status, _, err = deeprelax(*words)
    assert (status, planned) == (1, [])
    assert "dataset.validation=0, but a sweeper that searches needs images held out" in err
    assert deeprelax(*words, "dataset.validation=100")[0] == 0
    assert len(planned) == 2


@pytest.mark.slow
def test_joblib_runs_the_jobs_in_processes(deeprelax: Command) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="pip install 'deeprelax[sweeps]'")
    side_by_side = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    words = ["experiment=smoke", "epochs=1", "hardware.threads=1", "optimizer=sgd,heat", "seed=0"]
    status, _, _ = deeprelax("train", "-m", *side_by_side, *words)  # the workers log to standard error
    assert status == 0
    assert len(list(Path("outputs/smoke").rglob("result.json"))) == 2
