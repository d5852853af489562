"""A posterior with two modes, |w(1)| seen with noise, by a learned drift: `python -m tests.tasks.bimodal FILE.png`."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from deeprelax.models.sde_bnn import WeightSde
from deeprelax.optim import AdamW

SIGMA, NOISE, SEEN, STEPS = math.sqrt(2), 0.5, 1.5, 50
VARIANCE = SIGMA**2 * (1 - math.exp(-2)) / 2  # of the prior of w(1), from w(0) = 0


class Separate(nn.Module):
    """One small network for each weight alone, so that the weights are independent paths."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, t: float, w: Tensor) -> Tensor:
        found: Tensor = self.net(torch.stack([w, torch.full_like(w, t)], 1))
        return found[:, 0]


def log_likelihood(w: Tensor) -> Tensor:
    return -((w.abs() - SEEN) ** 2) / (2 * NOISE**2) - math.log(2 * math.pi * NOISE**2) / 2


def exact() -> tuple[Tensor, Tensor, float]:
    """A grid of w(1), the posterior's density on it, and the log evidence, by quadrature."""
    w = torch.linspace(-4, 4, 4001, dtype=torch.float64)
    joint = (log_likelihood(w) - w.square() / (2 * VARIANCE)).exp() / math.sqrt(2 * math.pi * VARIANCE)
    evidence = float(torch.trapezoid(joint, w))
    return w, joint / evidence, math.log(evidence)


def still(h: Tensor, t: float, w: Tensor) -> Tensor:
    return torch.zeros_like(h)


@dataclass
class Learned:
    """bound: of the log evidence, its mean over the ends; paths: of w, (times, paths)."""

    bound: float
    ends: Tensor
    paths: Tensor


def learned(gradients: int = 600, paths: int = 256) -> Learned:
    """The drift after so many gradients, each of so many paths; from 2,000 others.

    The likelihood's weight rises from nearly 0 to 1 in the first half: at 1 from the start the drift takes one mode and
    gives up the other, for the divergence in this direction forgives what is left out.
    """
    torch.manual_seed(0)
    drift = Separate()
    optimizer = AdamW(drift.parameters(), lr=3e-2, betas=(0.9, 0.99), weight_decay=0.0)

    def run(count: int, weight: float = 1.0) -> tuple[Tensor, Tensor]:
        sde = WeightSde(torch.zeros(count), drift, SIGMA, "stl")
        _, w, divergence = sde(torch.zeros(1), still, sde.increments(STEPS))
        return w, weight * log_likelihood(w).mean() - divergence / count

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = -run(paths, min(1.0, 0.02 + 2 * k / gradients))[1]
        loss.backward()
        return loss.detach()

    for k in range(gradients):
        optimizer.param_groups[0]["lr"] = 3e-2 * (1 + math.cos(math.pi * k / gradients)) / 2
        optimizer.step(closure)
    with torch.no_grad():
        ends, bound = run(2000)
        w, track = torch.zeros(60), [torch.zeros(60)]
        for i in range(STEPS):
            noise = SIGMA * torch.randn(60) / math.sqrt(STEPS)
            w = w + (drift(i / STEPS, w) - w) / STEPS + noise
            track.append(w)
    return Learned(float(bound), ends, torch.stack(track))


def main(file: Path) -> None:
    from matplotlib.figure import Figure

    found, (grid, density, evidence) = learned(), exact()
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(torch.linspace(0, 1, STEPS + 1), found.paths, color="tab:blue", alpha=0.3, linewidth=0.8)
    left.set(xlabel="t", ylabel="w", title="paths of the learned posterior")
    prior = (-grid.square() / (2 * VARIANCE)).exp() / math.sqrt(2 * math.pi * VARIANCE)
    right.plot(grid, prior, "k--", linewidth=0.8, label="prior of w(1)")
    right.plot(grid, density, "k-", label="posterior, by quadrature")
    right.hist(found.ends.numpy(), bins=80, range=(-4, 4), density=True, alpha=0.5, label="2,000 paths")
    right.set(xlabel="w(1)", xlim=(-3, 3), ylim=(0, 0.8), title=f"bound {found.bound:.3f}, log evidence {evidence:.3f}")
    right.legend(fontsize="small", loc="upper center")
    figure.savefig(file, dpi=120)
    above = float((found.ends > 0).float().mean())
    print(f"bound {found.bound:.4f}, log evidence {evidence:.4f}, share of w(1) > 0: {above:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
