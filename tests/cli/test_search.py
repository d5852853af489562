"""The optuna sweeper searches among real runs, by the error on images held out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from deeprelax.commands import train
from deeprelax.configuration.check import checked
from tests.accuracy import Accuracy


@pytest.mark.parametrize(("task", "examples"), [("classification", "images"), ("tests.accuracy:Accuracy", "digits")])
def test_a_search_needs_held_out_examples_of_a_data_set(
    task: str, examples: str, compose: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = SimpleNamespace(mode=RunMode.MULTIRUN, sweeper=SimpleNamespace(_target_="a.Searcher"))
    monkeypatch.setattr(train, "HydraConfig", SimpleNamespace(get=lambda: running))
    conf = checked(compose(f"task.name={task}"))
    with pytest.raises(ValueError, match=rf"needs {examples} held out, or it would choose by the test {examples}: set"):
        train._check_search(conf)
    train._check_search(checked(compose(f"task.name={task}", "dataset.validation=50")))
    monkeypatch.setattr(Accuracy, "takes_data", False)
    train._check_search(checked(compose("task.name=tests.accuracy:Accuracy")))
    running.sweeper._target_ = "hydra.BasicSweeper"
    train._check_search(conf)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # optuna 2 speaks to today's SQLAlchemy in words of 2021
def test_optuna_searches_by_the_images_held_out(deeprelax: Callable[..., tuple[int, str, str]]) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="pip install 'deeprelax[sweeps]'")
    search = ["train", "-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.sampler.seed=1"]
    words = [*search, "experiment=smoke", "optimizer=sgd", "optimizer.lr=interval(0.01,0.3)", "hardware.threads=1"]
    status, _, err = deeprelax(*words, "dataset.validation=0", "output_dir=refused")
    assert status == 1
    assert "deeprelax: 2 of 2 jobs failed" in err  # optuna alone would say that no trial is complete
    assert "dataset.validation=0, but a sweeper that searches needs images held out" in err
    assert not list(Path("refused").rglob("checkpoint.pt"))
    status, _, err = deeprelax(*words)
    assert status == 0, err
    results = [json.loads(file.read_text()) for file in Path("outputs/smoke").rglob("result.json")]
    assert len(results) == 2
    best = min(results, key=lambda result: float(result["validation_error"]))
    assert best["test_error"] != best["validation_error"]
    (file,) = Path("outputs/smoke").rglob("optimization_results.yaml")
    assert OmegaConf.load(file).best_value == best["validation_error"]
