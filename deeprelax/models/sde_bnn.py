"""Define an infinitely deep Bayesian network: its weights follow a stochastic differential equation in depth."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .hyperparameters import check_ranges

Field = Callable[[Tensor, float, Tensor], Tensor]  # f(h, t, w), of the shape of h
State = tuple[Tensor, Tensor, Tensor]  # h; w (weights,); the divergence so far, 0-dim


class Drift(nn.Module):
    """nn_phi(t, w) = V s + b, s (rank,) a tanh network of (w, t). (weights,) to (weights,); V and b are 0 at first."""

    def __init__(self, weights: int, rank: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Linear(weights + 1, rank), nn.Tanh(), nn.Linear(rank, hidden), nn.Tanh(), nn.Linear(hidden, rank)
        )
        self.last = nn.Linear(rank, weights)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, t: float, w: Tensor) -> Tensor:
        found: Tensor = self.last(self.inner(torch.cat([w, w.new_full((1,), t)])))
        return found


class WeightSde(nn.Module):
    """dw = (nn_phi(t, w) - w) dt + sigma dB from w(0), a parameter, and dh = f(h, t; w) dt along it, t from 0 to 1.

    Euler-Maruyama, one path for the whole batch. The divergence of this posterior from the prior dw = -w dt + sigma dB
    with the same w(0) is estimated from the path, with u = nn_phi / sigma:
        kl   int u^2 dt / 2
        stl  int u^2 dt / 2 + int u* dB, u* = u with phi held constant. The mean and its gradient are the same, and at
             the exact posterior its gradient with log p(data | path) vanishes on every path: sticking the landing.

    memory: "store" keeps what backward needs of all steps. "recompute" keeps the increments of B and some 2 log2(steps)
    states, and computes the steps again, log2(steps) times in the mean; the gradient is the same.

    Source: arXiv 2102.06559; stl from arXiv 1703.09194.

    Args:
        initial: w(0), (weights,).
        drift: nn_phi, called as drift(t, w).
        sigma: of the noise.
    """

    def __init__(
        self, initial: Tensor, drift: nn.Module, sigma: float, divergence: str = "kl", memory: str = "store"
    ) -> None:
        super().__init__()
        check_ranges(sigma=sigma, divergence=divergence, memory=memory)
        self.initial, self.drift, self.sigma = nn.Parameter(initial), drift, sigma
        self.sticks, self.recomputes = divergence == "stl", memory == "recompute"

    def increments(self, steps: int) -> Tensor:
        """Of B, (steps, weights), from the default generator of the device."""
        w = self.initial
        return torch.randn(steps, len(w), device=w.device, dtype=w.dtype) / math.sqrt(steps)

    def forward(self, h: Tensor, field: Field, increments: Tensor) -> State:
        """h(1), w(1) and the divergence of the path with these increments of B, (steps, weights)."""
        w = self.initial
        return self._run(field, 0, len(increments), increments, h, w, w.new_zeros(()))

    def _run(self, field: Field, i: int, j: int, increments: Tensor, *state: Tensor) -> State:
        """Steps i to j - 1; halves are computed again, each by its own halves."""
        h, w, divergence = state
        if self.recomputes and torch.is_grad_enabled() and j - i > 1:
            for a, b in ((i, (i + j) // 2), ((i + j) // 2, j)):
                h, w, divergence = checkpoint(
                    self._run, field, a, b, increments, h, w, divergence, use_reentrant=False, preserve_rng_state=False
                )
            return h, w, divergence
        for k in range(i, j):
            h, w, divergence = self._step(
                field, k / len(increments), 1 / len(increments), increments[k], h, w, divergence
            )
        return h, w, divergence

    def _step(self, field: Field, t: float, dt: float, increment: Tensor, *state: Tensor) -> State:
        h, w, divergence = state
        drift = self.drift(t, w).to(w.dtype)  # autocast would add up the path in bfloat16
        divergence = divergence + (drift / self.sigma).square().sum() * (dt / 2)
        if self.sticks:
            constant = {name: p.detach() for name, p in self.drift.named_parameters()}
            u = torch.func.functional_call(self.drift, constant, (t, w)) / self.sigma
            divergence = divergence + (u * increment).sum()
        return h + dt * field(h, t, w), w + dt * (drift - w) + self.sigma * increment, divergence


class SdeBnn(nn.Module):
    """Stem, hidden state h from t = 0 to 1 with weights from a `WeightSde`, linear head.

    Input (batch, channels, size, size), output (batch, classes), all with one path of weights, a new one at each call.
    dense: h (width,), f = W2 tanh(W1 [h, t] + b1) + b2 with `hidden` units between. convolution: h (width, size/4,
    size/4), the same with 3x3 convolutions behind a stem of two with stride 2. Stem and head are ordinary weights.

    Source: arXiv 2102.06559. Differs from its public code: one block, no squeezing between blocks, Ito's
    Euler-Maruyama; stl's integrand has the 1/2 of int u^2 dt / 2.

    Args:
        channels, image_size, classes: of the data set; image_size in pixels.
        kind: "dense" or "convolution".
        width: of the hidden state, in numbers or channels.
        hidden: of f, in units or channels.
        steps: of a path in training.
        evaluation_steps: of a path in eval mode; None: as in training.
        sigma: of the weights' noise; w stays within sigma/sqrt(2) or so of its mean.
        rank: width of the bottleneck of the posterior's drift, an MLP of weights-rank-drift_hidden-rank-weights.
        drift_hidden: its hidden width.
        divergence: "kl" or "stl", as in `WeightSde`.
        memory: "store" or "recompute".
    """

    def __init__(
        self, channels: int, image_size: int, classes: int, kind: str = "dense", width: int = 32, hidden: int = 64,
        steps: int = 10, evaluation_steps: int | None = None, sigma: float = 0.1, rank: int = 1, drift_hidden: int = 64,
        divergence: str = "stl", memory: str = "store",
    ) -> None:  # fmt: skip
        super().__init__()
        self.steps, self.evaluation_steps = steps, steps if evaluation_steps is None else evaluation_steps
        check_ranges(kind=kind, steps=steps, evaluation_steps=self.evaluation_steps)
        check_ranges(width=width, hidden=hidden, rank=rank, drift_hidden=drift_hidden)
        window: tuple[int, ...] = (3, 3) if kind == "convolution" else ()
        self.shapes = [(hidden, width + 1, *window), (hidden,), (width, hidden, *window), (width,)]  # W1, b1, W2, b2
        if window:
            side = (image_size + 3) // 4
            self.stem = nn.Sequential(nn.Conv2d(channels, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1))
        else:
            self.stem, side = nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, width)), 1
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(width * side**2, classes))
        inputs = [math.prod(self.shapes[i][1:]) for i in (0, 0, 2, 2)]  # of a unit
        initial = torch.cat([_uniform(shape, n) for shape, n in zip(self.shapes, inputs, strict=True)])
        self.weights = WeightSde(initial, Drift(len(initial), rank, drift_hidden), sigma, divergence, memory)

    def sampled(self, images: Tensor, steps: int | None = None) -> tuple[Tensor, Tensor]:
        """Logits (batch, classes) on a new path of weights, and its estimate of the divergence, 0-dim."""
        steps = steps or (self.steps if self.training else self.evaluation_steps)
        increments = self.weights.increments(steps)
        h, _, divergence = self.weights(self.stem(images).to(increments.dtype), self._field, increments)
        return self.head(h), divergence

    def forward(self, images: Tensor) -> Tensor:
        return self.sampled(images)[0]

    def _field(self, h: Tensor, t: float, w: Tensor) -> Tensor:
        parts = w.split([math.prod(shape) for shape in self.shapes])
        w1, b1, w2, b2 = (part.view(shape) for part, shape in zip(parts, self.shapes, strict=True))
        h = torch.cat([h, torch.full_like(h[:, :1], t)], 1)
        if w1.ndim == 2:
            return nn.functional.linear(torch.tanh(nn.functional.linear(h, w1, b1)), w2, b2)
        return nn.functional.conv2d(torch.tanh(nn.functional.conv2d(h, w1, b1, padding=1)), w2, b2, padding=1)


def _uniform(shape: tuple[int, ...], inputs: int) -> Tensor:
    """Flat, by torch's rule for a layer with so many inputs a unit."""
    return torch.empty(math.prod(shape)).uniform_(-1 / math.sqrt(inputs), 1 / math.sqrt(inputs))
