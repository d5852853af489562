"""The figure of depth as time: Hamiltonian and momenta along depth, and what more steps or layers change."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reporting.style import BLUE, GREY, ORANGE
from ..outcome import Outcome, letter, panels
from .hamiltonian_depth import AlongDepth, Array, Trained, along_depth, near_identity

COLOURS = {"before training": GREY, "trained": BLUE}
LAYERS = np.array([8, 16, 32, 64, 128, 256])
Followed = dict[str, dict[int, AlongDepth]]  # name of a network: n: what was found


def hamiltonian_figure(trained: Trained, steps: list[int], seed: int) -> Outcome:
    """Six panels: H, |p|, |f| and p.dx along depth; H's drift against n; near-identity layers against their number."""
    own = {name: network.steps for name, (network, _) in trained.networks.items()}
    found: Followed = {
        name: {n: along_depth(network, trained.images, loss, n, seed) for n in sorted({own[name], *steps})}
        for name, (network, loss) in trained.networks.items()
    }
    distances = near_identity(LAYERS)
    with panels(2, 3, 9.6, 5.2) as (figure, axes):
        quantities = {"hamiltonian": r"mean $H=p\cdot f$", "momentum_norm": "mean $|p|$", "speed": "mean $|f|$"}
        for ax, (quantity, label) in zip(axes.flat, quantities.items(), strict=False):
            _along(ax, found, own, quantity)
            ax.set(xlabel="depth $t$", ylabel=label, title=label.removeprefix("mean "))
        _pairing(axes[1, 0], found)
        _drift(axes[1, 1], found)
        _near_identity(axes[1, 2], distances)
        letter(axes)
        handles = [axes[0, 0].plot([], [], color=c, label=name)[0] for name, c in COLOURS.items() if name in found]
        handles += axes[0, 0].plot([], [], "o", color=GREY, markersize=4, label="the network's own steps")
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        about = f"{len(trained.images)} test images; lines: {max(*steps, *own.values())} steps"
        figure.suptitle(f"{trained.name}; {about}", fontsize=9)
    arrays: dict[str, Any] = {"layers": LAYERS, "near_identity": distances}
    for name, by_steps in found.items():
        for n, along in by_steps.items():
            arrays |= {f"{name}, {n} steps: {key}": value for key, value in vars(along).items()}
    return Outcome("hamiltonian", figure, arrays, _lines(found, own, distances))


def _along(ax: Any, found: Followed, own: dict[str, int], quantity: str) -> None:
    for name, by_steps in found.items():
        fine, coarse = by_steps[max(by_steps)], by_steps[own[name]]
        ax.plot(fine.t, getattr(fine, quantity).mean(0), color=COLOURS[name])
        ax.plot(coarse.t, getattr(coarse, quantity).mean(0), "o", color=COLOURS[name], markersize=4)


def _pairing(ax: Any, found: Followed) -> None:
    for name, by_steps in found.items():
        fine = by_steps[max(by_steps)]
        change = np.abs(fine.pairing - fine.pairing[:, :1]).max(0)
        ax.semilogy(fine.t[1:], np.maximum(change[1:], 1e-18), color=COLOURS[name])
    ax.set(xlabel="depth $t$", ylabel=r"largest change, over $|p||dx|$", title=r"$p\cdot dx$ is kept", ylim=(1e-18, 1))


def _drift(ax: Any, found: Followed) -> None:
    for name, by_steps in found.items():
        ax.semilogx(
            list(by_steps), [along.drift for along in by_steps.values()], "o-", color=COLOURS[name], markersize=3
        )
    ax.set(xlabel="steps", ylabel="drift of $H$, relative", title="what more steps change", ylim=(0, None))
    steps = sorted({n for by_steps in found.values() for n in by_steps})
    ax.set_xticks(steps, [str(n) for n in steps])
    ax.minorticks_off()


def _near_identity(ax: Any, distances: Array) -> None:
    ax.loglog(LAYERS, distances, "o-", color=ORANGE, markersize=3, label="$W=I+A/L$")
    ax.loglog(LAYERS, distances[-1] * LAYERS[-1] / LAYERS, ":", color="black", label="$1/L$")
    ax.set(xlabel="layers $L$", ylabel="distance", title=r"layers to $\dot x=Ax+b+g(x)$")
    ax.legend()


def _lines(found: Followed, own: dict[str, int], distances: Array) -> list[str]:
    lines = []
    for name, by_steps in found.items():
        along = by_steps[own[name]]
        h, p, f = (getattr(along, key).mean(0) for key in ("hamiltonian", "momentum_norm", "speed"))
        lines.append(
            f"{name}, {own[name]} steps: mean H {h[0]:.4g} to {h[-1]:.4g}, |p| {p[0]:.4g} to {p[-1]:.4g}, "
            f"|f| {f[0]:.4g} to {f[-1]:.4g}; p.dx kept to {along.pairing_drift:.1e}"
        )
        drifts = ", ".join(f"{each.drift:.3g} ({n})" for n, each in by_steps.items())
        lines.append(f"{name}: drift of H, relative (steps): {drifts}")
    order = np.log2(distances[-2] / distances[-1])
    lines.append(
        f"near-identity layers: distance to their equation {distances[-1]:.3g} at L = {LAYERS[-1]}, order {order:.2f}"
    )
    return lines
