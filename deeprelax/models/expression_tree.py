"""Define a differentiable expression tree: a formula whose operators are weighted until they are chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .hyperparameters import check_ranges

LARGEST = 10.0  # the largest argument of exp; larger ones count as this, so that no wild step overflows
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda z: z,
    "square": torch.square,
    "sin": torch.sin,
    "exp": lambda z: z.clamp(max=LARGEST).exp(),
    "tanh": torch.tanh,
    "one": torch.ones_like,
}


class ExpressionTree(nn.Module):
    """A balanced binary tree of 2^depth leaves. Input (batch, inputs), output (batch, 1).

    Leaf l is c_l sum_o softmax(s a_l)_o o(w_l x + b_l) over the operators o; an inner node of the results l, r below it
    is softmax(s q)_+ (l + r) + softmax(s q)_* l r; s is the sharpness. `harden` keeps of each choice its likeliest
    option, in the buffers `operator` (leaves) and `join` (nodes, level by level from the leaves; 0: +, 1: *), where -1
    stands for what is not chosen yet; c, w, b stay free.

    Source: the idea of J. Panju, K. Parand and A. Ghodsi, arXiv 2011.06673. Leaves with affine arguments, the softmax
    of both choices and the hardening are our own.

    Args:
        inputs, outputs: of the task; one output.
        depth: levels of inner nodes.
        operators: names of `FUNCTIONS`, each once; one is the constant 1.
        spread: standard deviation of the first w and b.

    Raises ValueError for more than one output, and for values out of their ranges.
    """

    def __init__(
        self, inputs: int, outputs: int = 1, depth: int = 1,
        operators: Sequence[str] = ("identity", "sin", "exp", "one"), spread: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        check_ranges(**{"expression_tree.depth": depth, "operators": operators, "spread": spread})
        if outputs != 1:
            raise ValueError(f"outputs must be 1, for a tree is one formula, not {outputs}")
        self.depth, self.operators = depth, tuple(operators)
        leaves = 2**depth
        self.w = nn.Parameter(spread * torch.randn(leaves, inputs))
        self.b = nn.Parameter(spread * torch.randn(leaves))
        self.c = nn.Parameter(torch.ones(leaves))
        self.a = nn.Parameter(0.1 * torch.randn(leaves, len(self.operators)))
        self.q = nn.Parameter(0.1 * torch.randn(leaves - 1, 2))
        self.operator: Tensor
        self.join: Tensor
        self.register_buffer("operator", torch.full((leaves,), -1))
        self.register_buffer("join", torch.full((leaves - 1,), -1))

    def forward(self, x: Tensor, sharpness: Tensor | float = 1.0, hard: bool = False) -> Tensor:
        """u (batch, 1); with `hard` that of the likeliest options, which `harden` would choose."""
        return self.value(x, *self.weights(sharpness, hard))

    def weights(self, sharpness: Tensor | float = 1.0, hard: bool = False) -> tuple[Tensor, Tensor]:
        """Of the options of leaves (leaves, operators) and of nodes (nodes, 2), each row of sum 1."""
        found = []
        for scores, chosen in ((self.a, self.operator), (self.q, self.join)):
            best = torch.where(chosen < 0, scores.argmax(1), chosen)[:, None]
            certain = best == torch.arange(scores.shape[1], device=scores.device)
            if hard:
                found.append(certain.to(scores.dtype))
            else:  # an option of score -inf has weight 0, and no score of its row a gradient
                out = (chosen[:, None] >= 0) & ~certain
                found.append(torch.softmax((sharpness * scores).masked_fill(out, -torch.inf), 1))
        return found[0], found[1]

    def value(self, x: Tensor, leaf: Tensor, node: Tensor) -> Tensor:
        """u (batch, 1) with these `weights`."""
        z = torch.addmm(self.b, x, self.w.T)
        values = torch.stack([FUNCTIONS[name](z) for name in self.operators], 2)  # (batch, leaves, operators)
        h = (values * (self.c[:, None] * leaf)).sum(2)
        first = 0
        while h.shape[1] > 1:
            left, right = h[:, ::2], h[:, 1::2]
            plus, times = node[first : first + left.shape[1]].unbind(1)
            first += left.shape[1]
            h = plus * (left + right) + times * (left * right)
        return h

    @staticmethod
    def entropy(*weights: Tensor) -> Tensor:
        """The mean over leaves and nodes of the entropy of their choice, in units of its largest: 0-dim, 0 to 1."""
        found = []
        for p in weights:
            most = math.log(p.shape[1]) or 1.0  # one operator is no choice
            found.append((p * p.clamp(min=1e-30).log()).sum(1) / -most)
        return torch.cat(found).mean()

    @torch.no_grad()
    def harden(self) -> None:
        """Keep the likeliest option of each choice; what was chosen before stays."""
        for scores, chosen in ((self.a, self.operator), (self.q, self.join)):
            chosen.copy_(torch.where(chosen < 0, scores.argmax(1), chosen))

    @property
    def hardened(self) -> bool:
        """Is every choice made? Reads the device."""
        return bool((self.operator >= 0).all() and (self.join >= 0).all())
