"""Write run directories without training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deeprelax.records.scores import to_json
from deeprelax.tasks.metric import Metric

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd", "lr": 0.1},
    "heat": {"name": "heat", "lr": 0.1, "sigma": 0.02},
    "hj": {"name": "hj", "lr": 0.1, "gamma": 0.1, "inner_steps": 5},
}

FIT = {"r2": Metric("", 3, smaller_is_better=False), "rmse": Metric("mm", 2)}  # the scores of a made-up task


def write_run(
    folder: Path,
    optimizer: str,
    seed: int,
    error: float | None,
    *,
    budget: int = 100,
    evaluations: int | None = None,
    batch_size: int = 10,
    log: str = "",
    records: list[dict[str, Any]] | None = None,
    result: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write the files of a run as `deeprelax train` leaves them. error None: unfinished. changes: optimizer__lr=0.2."""
    config: dict[str, Any] = {
        "dataset": {"name": "digits", "train_size": 200, "options": {}},
        "model": {"name": "lenet"},
        "optimizer": {**OPTIMIZERS[optimizer], "seed": seed},
        "hardware": {"device": "auto", "devices": "1", "threads": seed, "share": "data"},
        "epochs": 5.0, "batch_size": batch_size, "seed": seed, "data_dir": f"/data/{seed}", "output_dir": "outputs",
    }  # fmt: skip
    for name, value in changes.items():
        group, _, key = name.rpartition("__")
        (config[group] if group else config)[key] = value
    words = "+".join(f"{name}-{value}" for name, value in sorted(changes.items())) or "default"
    directory = folder / f"{optimizer}+{words}+{budget}" / f"seed-{seed}"
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    (directory / "train.log").write_text(log)
    if records is None:
        records = [record(10 * k, 50.0 / k) for k in (2, 4, 8)]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    if error is not None:
        taken = budget if evaluations is None else evaluations
        content = {
            "seed": seed, "epochs": config["epochs"], "batch_size": batch_size, "budget": budget,
            "gradient_evaluations": taken, "seconds": 2.0, "test_error": error, "test_loss": error / 10,
            "device": "cpu", "threads": 1, "ranks": 1, "skipped_steps": 0, **(result or {}),
        }  # fmt: skip
        (directory / "result.json").write_text(json.dumps(content))
    return directory


def record(evaluations: int, error: float, kind: str = "test", seconds: float | None = None) -> dict[str, Any]:
    spent = evaluations / 10 if seconds is None else seconds
    counts = {"kind": kind, "gradient_evaluations": evaluations, "passes": evaluations / 20, "seconds": spent}
    return {**counts, "error": error, "loss": error / 10}


def write_fit(
    folder: Path, optimizer: str, seed: int, r2: float | None, *, options: dict[str, Any] | None = None, **more: Any
) -> Path:
    """As `write_run`, of a task whose scores are FIT and which has data of its own; rmse is 10 r2 in all of them."""
    records = [fit_record(10 * k, 1 - 1 / k) for k in (1, 2, 4)]
    directory = write_run(folder, optimizer, seed, r2, **{"records": records} | more)
    config = json.loads((directory / "config.yaml").read_text())
    config |= {"task": {"name": "mine:Fit", "options": options or {}}, "dataset": {"name": "none", "train_size": None}}
    (directory / "config.yaml").write_text(json.dumps(config))
    (directory / "provenance.json").write_text(json.dumps({"metrics": to_json(FIT)}))
    if r2 is not None:
        result = json.loads((directory / "result.json").read_text())
        result |= {
            "test_r2": result.pop("test_error"),
            "test_rmse": 10 * r2,
            "examples": 50,
            "examples_per_second": 1e3,
        }
        (directory / "result.json").write_text(json.dumps(result))
    return directory


def fit_record(evaluations: int, r2: float) -> dict[str, Any]:
    counts = record(evaluations, 1.0)
    del counts["error"]
    return {**counts, "r2": r2, "rmse": 10 * r2}
