"""Give all figures one style: colours, matplotlib's settings, and files that are the same bytes each time."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import IO, Any

from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind tell apart; without their yellow, too pale for a line
BLACK, GREY = "#000000", "#777777"
BLUE, RED, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,  # bars are not ruled through
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "mathtext.fontset": "cm",
    "pdf.fonttype": 42,  # letters stay letters, which journals ask for
}
logging.getLogger("fontTools").setLevel(logging.ERROR)  # it logs every subset of a font


def save(figure: Figure, file: Path | IO[bytes], kind: str, dpi: int) -> None:
    """Save as `kind`, "png" or "pdf", in the same bytes each time: matplotlib would write the date into a PDF."""
    figure.savefig(file, format=kind, dpi=dpi, metadata={"CreationDate": None} if kind == "pdf" else None)
