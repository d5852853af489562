"""Regression on a table: scikit-learn's diabetes, embedded, scored by root mean square error and R^2."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from ..errors import UserError
from ..randomness import Purpose, derive_seed
from .hyperparameters import check_options
from .least_squares import LeastSquares
from .metric import Metric
from .task import Setting

TEST = 0.2  # share of the examples


class Regression(LeastSquares):
    """f = the mean squared error of a batch, features and target standardised on the training part.

    442 patients, 10 features, target: a score of the disease's progress one year later, from 25 to 346. A fifth (88)
    is for testing, the same for every seed. "rmse" is in points of that score, "r2" is 1 - sum (y - prediction)^2 /
    sum (y - mean of y)^2 with y and mean those of the split; "loss" is in the standardised unit.

    Networks map (batch, 10) to (batch, 1). Raises UserError if `validation` leaves fewer than 2 examples to train on.

    Source: B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, Least angle regression, Annals of Statistics 32 (2004).

    Args:
        validation: training examples to hold out.
    """

    metrics = {"rmse": Metric(decimals=2), "r2": Metric(decimals=4, smaller_is_better=False)}  # noqa: RUF012

    def __init__(self, setting: Setting, validation: int = 0) -> None:
        import sklearn.datasets

        check_options({"validation": validation})
        found = sklearn.datasets.load_diabetes(scaled=False)
        inputs, targets = torch.from_numpy(found.data).double(), torch.from_numpy(found.target).double()[:, None]
        self.parts = _parts(len(inputs), validation)  # rows of the table in each split
        train = self.parts["train"]
        if len(train) < 2:
            raise UserError(f"task.validation={validation} leaves {len(train)} examples to train on: lower it")
        inputs, _ = _standardised(inputs, train)
        targets, self.unit = _standardised(targets, train)
        super().__init__(
            setting, {name: (inputs[own].float(), targets[own].float()) for name, own in self.parts.items()}
        )
        self.shape = {"inputs": inputs.shape[1], "outputs": 1}
        content = [array.tobytes() for array in (found.data, found.target)] + [str(validation).encode()]
        self.fingerprint = hashlib.blake2b(b"".join(content), digest_size=16).hexdigest()

    def scores(self, sums: Tensor) -> dict[str, float]:
        errors, total, squares, examples = sums.tolist()
        spread = squares - total**2 / examples
        return {
            "loss": errors / examples,
            "rmse": self.unit * math.sqrt(errors / examples),
            "r2": 1.0 - errors / spread if spread > 0 else 0.0,  # as scikit-learn has it where all targets are equal
        }


def _parts(examples: int, validation: int) -> dict[str, Tensor]:
    """Indices of each split, ascending: a fixed choice, independent of the run's seed."""
    order = torch.randperm(examples, generator=torch.Generator().manual_seed(derive_seed(0, Purpose.SPLIT)))
    test = int(TEST * examples)
    held_out = {"validation": order[test : test + validation].sort().values} if validation else {}
    return {"train": order[test + validation :].sort().values, "test": order[:test].sort().values, **held_out}


def _standardised(columns: Tensor, train: Tensor) -> tuple[Tensor, float]:
    """Each column to mean 0 and standard deviation 1 on the training rows; and the first one's standard deviation."""
    mean, deviation = columns[train].mean(0), columns[train].std(0, correction=0)
    return (columns - mean) / torch.where(deviation > 0, deviation, 1.0), float(deviation[0])
