"""Write run directories without training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd", "lr": 0.1},
    "heat": {"name": "heat", "lr": 0.1, "sigma": 0.02},
    "hj": {"name": "hj", "lr": 0.1, "gamma": 0.1, "inner_steps": 5},
}


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
