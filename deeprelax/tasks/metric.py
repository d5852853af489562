"""How a score of x is shown and compared. Imports no torch: reports read it from a run's provenance.json."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Metric:
    """A score's unit, its decimals (None: four significant digits), and which way is better.

    share_of: the score is the share, in percent if that is its unit, of what result.json counts under this name behind
    the split's, as "images" of test_images; its values are then multiples of one of these.
    """

    unit: str = ""
    decimals: int | None = None
    smaller_is_better: bool = True
    share_of: str = field(default="", compare=False)  # runs of before it was recorded are shown as others

    def number(self, value: float) -> str:
        """The value without its unit."""
        return f"{value:.4g}" if self.decimals is None else f"{value:.{self.decimals}f}"

    def show(self, value: float, gap: str = " ") -> str:
        """The value with its unit, `gap` between them."""
        return f"{self.number(value)}{gap}{self.unit}" if self.unit else self.number(value)

    def cost(self, value: float) -> float:
        """What a sweeper minimises."""
        return value if self.smaller_is_better else -value
