"""Define a mixture of small networks whose domains are learned: a domain decomposition for differential equations."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from .hyperparameters import check_ranges


class GatedMlp(nn.Module):
    """u(x) = sum_i g_i(x) E_i(x): experts E_i, tanh networks of one shape, and a gate g = softmax(G(x)) over them.

    Input (batch, inputs), each in [-1, 1]; output (batch, outputs). The gate has one tanh layer of its own. Weights by
    Glorot's rule (normal), biases 0. 5,304 parameters for 2 inputs and 1 output.

    Source: the learned domain decomposition of arXiv 2009.03730. Its public code differs in two things that are not
    taken over. It combines experts as log sum_i g_i exp(E_i), which fits classes, not the values of a field. And it
    lets the best expert alone answer: where the best one changes, the field jumps, and no residual at collocation
    points sees a jump. Here all experts answer everywhere, and the gate is smooth.

    Args:
        inputs, outputs: of the task.
        experts: how many.
        hidden: width of each hidden layer of an expert.
        layers: hidden layers of an expert.
        gate_hidden: width of the gate's layer.
    """

    def __init__(
        self, inputs: int, outputs: int, experts: int = 4, hidden: int = 24, layers: int = 3, gate_hidden: int = 16
    ) -> None:
        super().__init__()
        check_ranges(experts=experts, hidden=hidden, layers=layers, gate_hidden=gate_hidden)
        widths = [inputs, *[hidden] * layers, outputs]
        self.weights = nn.ParameterList()  # of each layer (experts, in, out): the experts are one batched product
        self.biases = nn.ParameterList()  # (experts, 1, out)
        for a, b in itertools.pairwise(widths):
            layer = torch.empty(experts, a, b)
            for expert in layer:
                nn.init.xavier_normal_(expert)
            self.weights.append(nn.Parameter(layer))
            self.biases.append(nn.Parameter(torch.zeros(experts, 1, b)))
        self.gate = nn.Sequential(nn.Linear(inputs, gate_hidden), nn.Tanh(), nn.Linear(gate_hidden, experts))
        for module in self.gate:
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                nn.init.zeros_(module.bias)

    def shares(self, x: Tensor) -> Tensor:
        """g(x), (batch, experts): each expert's share, of sum 1."""
        return torch.softmax(self.gate(x), 1)

    def answers(self, x: Tensor) -> Tensor:
        """E_i(x), (experts, batch, outputs)."""
        h = x.expand(len(self.weights[0]), *x.shape)
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias, h, weight)
            h = h if i == last else torch.tanh(h)
        return h

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("be,ebo->bo", self.shares(x), self.answers(x))
