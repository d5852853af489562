"""Clip each mini-batch gradient to a norm, on the device, and count how often that acts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm


class Clip:
    """g <- g min(1, most / (|g| + 1e-6)), |g| the Euclidean norm over all parameters: torch.nn.utils.clip_grad_norm_.

    A gradient whose norm is not finite stays as it is, so that the optimizer's check sees it. No number is read on the
    host, so that a CUDA graph holds it. `counts`: how many gradients were clipped, and all, since the last `share`.

    Source: arXiv 1211.5063, algorithm 1.
    """

    def __init__(self, most: float, device: torch.device) -> None:
        self.most = most
        self.counts = torch.zeros(2, dtype=torch.int64, device=device)

    @torch.no_grad()
    def __call__(self, parameters: Sequence[nn.Parameter]) -> None:
        """Clip what is in the parameters' .grad."""
        reached = [p for p in parameters if p.grad is not None]
        gradients = [p.grad for p in reached if p.grad is not None]
        if not gradients or any(g.layout is not torch.strided for g in gradients):
            return  # the optimizer refuses sparse ones, in a sentence
        norm = get_total_norm(gradients)
        finite = torch.isfinite(norm)
        clip_grads_with_norm_(reached, self.most, norm.masked_fill(~finite, 0.0))
        self.counts += torch.stack([finite & (norm > self.most), torch.ones_like(finite)])

    def share(self) -> float | None:
        """Clipped gradients over all, from 0 to 1; None if there were none. Restarts the count. Waits for a GPU."""
        clipped, taken = self.counts.tolist()
        self.counts.zero_()
        return clipped / taken if taken else None

    def load(self, counts: Tensor | None) -> None:
        """Resume from `counts`."""
        if counts is not None:
            self.counts.copy_(counts)
