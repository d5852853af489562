"""Compare settings over several problems by a performance profile, as numbers and as a figure."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from .figure import BASELINE, OTHERS
from .rows import Profile
from .style import STYLE, save

NAMES = ("profile.png", "profile.pdf")


def write(profile: Profile | None, baseline: str, folder: Path) -> list[str]:
    """Write profile.png and profile.pdf into the folder, and return their names; none without a profile."""
    if profile is None:
        for name in NAMES:
            (folder / name).unlink(missing_ok=True)  # an older one would show other runs than the tables beside it
        return []
    with mpl.rc_context(STYLE):
        figure = draw(profile, baseline)
        for name in NAMES:
            beside = folder / f"{name}.new"
            save(figure, beside, name[-3:], dpi=200)
            beside.replace(folder / name)
    return list(NAMES)


def draw(profile: Profile, baseline: str) -> Figure:
    """Steps of the share of problems over the factor of the cheapest's cost, on a logarithmic axis."""
    figure = Figure(figsize=(6.0, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    finite = [ratio for ratios in profile.ratios.values() for ratio in ratios if math.isfinite(ratio)]
    last = max(2.0, 1.1 * max(finite, default=1.0))
    others = iter(OTHERS * len(profile.ratios))
    for label in profile.ratios:
        colour, marker = BASELINE if label == baseline else next(others)
        taus = [1.0, *sorted({each for each in profile.ratios[label] if 1 < each < math.inf}), last]
        shares = [100 * profile.share(label, tau) for tau in taus]
        axes.step(taus, shares, where="post", color=colour, marker=marker, markersize=3.5, label=label)
    axes.set_xscale("log", base=2)
    axes.set_xlim(1, last)
    if last < 4:  # powers of 2 alone would be too few
        axes.xaxis.set_major_locator(LogLocator(base=2, subs=(1.0, 1.25, 1.5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(-3, 103)
    axes.set_xlabel("cost as a multiple of the cheapest setting's")
    axes.set_ylabel(f"of {len(profile.problems)} problems at the target (%)")
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0)
    return figure
