"""Read the scores of a run by its task's metrics, which stand in provenance.json. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..tasks.metric import Metric

LOSS = Metric()
OF_OLDER_RUNS = {"error": Metric("%", 2)}  # made before there was a choice of tasks: all of classification


def to_json(metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """For provenance.json."""
    return {name: asdict(metric) for name, metric in metrics.items()}


def of_provenance(content: Mapping[str, Any]) -> dict[str, Metric]:
    """The metrics of a run by its provenance.json; the first is what runs are compared by. Raises ValueError."""
    stored = content.get("metrics")
    if stored is None:
        return OF_OLDER_RUNS
    try:
        found = {name: Metric(**values) for name, values in stored.items()}
    except (AttributeError, TypeError) as error:
        raise ValueError(f"these are no metrics: {stored}") from error
    if not found:
        raise ValueError("there is no metric to compare runs by")
    return found


def first(metrics: Mapping[str, Metric]) -> tuple[str, Metric]:
    """What runs are compared by."""
    return next(iter(metrics.items()))


def score_of(key: str, metrics: Mapping[str, Metric]) -> str:
    """The score of a key of result.json: error of test_error, test_error_average and test_error_best."""
    name = key.partition("_")[2]
    return name if name in metrics else name.removesuffix("_average").removesuffix("_best")


def of_key(key: str, metrics: Mapping[str, Metric]) -> Metric:
    """How a number of result.json is shown, as that of test_error; LOSS where it is no score."""
    return metrics.get(score_of(key, metrics), LOSS)


def resolution(key: str, metrics: Mapping[str, Metric], result: Mapping[str, Any]) -> float:
    """What one example changes in a score that is a share of them, as 100/N percent of N test images.

    0 for other numbers of result.json, and where N is not known, as in results of older versions.
    """
    metric = of_key(key, metrics)
    count = result.get(f"{key.partition('_')[0]}_{metric.share_of}")
    whole = 100.0 if metric.unit == "%" else 1.0
    return whole / count if metric.share_of and isinstance(count, int) and count > 0 else 0.0


def cost(result: Mapping[str, Any], metrics: Mapping[str, Metric]) -> float:
    """What sweepers minimise: the cost of the first metric on validation data if held out, else on test data."""
    name, metric = first(metrics)
    return metric.cost(float(result.get(f"validation_{name}", result[f"test_{name}"])))
