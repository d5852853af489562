"""A task of a user's own: classification, scored by a number of which more is better."""

from __future__ import annotations

from torch import Tensor

from deeprelax.tasks.classification import Classification
from deeprelax.tasks.metric import Metric
from deeprelax.tasks.task import Setting, Task


class Accuracy(Classification):
    """`task.name=tests.accuracy:Accuracy`."""

    noun = "digit"
    result_keys = Task.result_keys

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.metrics = {"accuracy": Metric("", 3, smaller_is_better=False)}

    def scores(self, sums: Tensor) -> dict[str, float]:
        found = super().scores(sums)
        return {"loss": found["loss"], "accuracy": 1 - found["error"] / 100}
