"""Text that a network writes, character by character."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...randomness import Purpose, derive_seed
from .corpus import UNKNOWN


@torch.no_grad()
def continued(
    model: nn.Module, prompt: Tensor, length: int, context: int, temperature: float = 1.0, seed: int = 0
) -> list[int]:
    """`length` tokens after those of the prompt, int64 (at least 1,), each drawn from softmax(logits / temperature).

    A function of weights, arguments and seed; the network sees the last `context` tokens and is in eval mode meanwhile.
    Temperature 0 takes the likeliest. UNKNOWN is never drawn.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, Purpose.EVALUATION, "sample"))
    device = next(model.parameters()).device
    tokens, mode = prompt.tolist(), model.training
    model.eval()
    for _ in range(length):
        logits = model(torch.tensor([tokens[-context:]], device=device))[0, -1].double().cpu()
        logits[UNKNOWN] = -torch.inf
        if temperature:
            p = torch.softmax((logits - logits.max()) / temperature, 0)
            tokens.append(int(torch.multinomial(p, 1, generator=generator)))
        else:
            tokens.append(int(logits.argmax()))
    model.train(mode)
    return tokens[len(prompt) :]
