"""How long a run is, in gradient evaluations: the same for every optimizer, so that equal epochs are equal cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Budget:
    """epochs passes over `images` training images in batches of `batch_size`, `per_step` evaluations an outer step."""

    epochs: float
    images: int
    batch_size: int
    per_step: int

    @property
    def evaluations(self) -> int:
        """Gradient evaluations that the run may take: floor(epochs * images / batch_size), at least 1."""
        return max(1, math.floor(_exact(self.epochs) * self.images / self.batch_size))

    @property
    def outer_steps(self) -> int:
        """Whole outer steps in it, at least one."""
        return max(1, self.evaluations // self.per_step)

    def passes(self, evaluations: int) -> float:
        """Passes over the training data after so many evaluations."""
        return evaluations * self.batch_size / self.images

    def crosses(self, every: float | None, evaluations: int) -> bool:
        """Has the step that ended at `evaluations` reached or passed a multiple of `every` passes?"""
        if every is None:
            return False
        unit = _exact(every) * self.images  # in images, as evaluations * batch_size
        now, before = (math.floor(n * self.batch_size / unit) for n in (evaluations, evaluations - self.per_step))
        return now > before


def _exact(number: float) -> Fraction:
    """The decimal number that was written: 0.1 is a tenth, so that no multiple of it is missed by rounding."""
    return Fraction(str(number))
