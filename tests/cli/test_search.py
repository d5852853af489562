"""The optuna sweeper searches among real runs, by the error on images held out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf


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
