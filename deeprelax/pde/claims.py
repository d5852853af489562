"""A claim: what is measured, the bound it is held against, and whether it holds."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Claim:
    """measured <= upper and measured >= lower; the bounds come from the mathematics or from a confidence interval.

    number: the claim of the paper (1 to 6). claim: one sentence. note: where the bound comes from, and the sample.
    """

    number: int
    claim: str
    measured: float
    upper: float = math.inf
    lower: float = -math.inf
    note: str = ""

    @property
    def holds(self) -> bool:
        return bool(self.lower <= self.measured <= self.upper)

    def line(self) -> str:
        """claim, measured, bound, holds."""
        return f"{self.number}  {self.claim:<86}  {self.measured:>10.4g}  {self.bound():<22}  {verdict(self.holds)}"

    def bound(self) -> str:
        if self.lower == -math.inf:
            return f"<= {self.upper:.4g}"
        return f">= {self.lower:.4g}" if self.upper == math.inf else f"in [{self.lower:.4g}, {self.upper:.4g}]"

    def record(self) -> dict[str, Any]:
        """For verify.json: infinite bounds are null."""
        values = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}
        return values | {"bound": self.bound(), "holds": self.holds}


def verdict(holds: bool) -> str:
    return "holds" if holds else "FAILS"


# Not a table of tables.py: a line is printed as soon as it is measured, before the widths of the others are known.
HEADER = f"   {'claim':<86}  {'measured':>10}  {'bound':<22}  holds"
