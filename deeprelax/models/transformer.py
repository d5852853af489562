"""Define a causal transformer for sequences of tokens: the next one is predicted from those before it."""

from __future__ import annotations

from torch import Tensor, nn

from .hyperparameters import check_ranges


class Block(nn.Module):
    """h <- h + A(N(h)), then h <- h + F(N(h)): pre-norm causal attention A, and F of width 4 width with GELU.

    Input and output (batch, length, width); what stands at a place depends on that place and earlier ones alone.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, h: Tensor) -> Tensor:
        batch, length, width = h.shape
        parts = self.qkv(self.norm1(h)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind()  # each (batch, heads, length, width / heads)
        off = self.dropout if self.training else 0.0
        attended = nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=off, is_causal=True)
        h = h + self.drop(self.project(attended.transpose(1, 2).reshape(batch, length, width)))
        inner: Tensor = self.drop(self.narrow(nn.functional.gelu(self.widen(self.norm2(h)))))
        return h + inner


class Transformer(nn.Module):
    """Tokens (batch, length), integers under `vocabulary`, to logits (batch, length, vocabulary) of the next ones.

    Embedding plus learned positions, `depth` blocks, a last norm, and as head the embedding's transpose (tied). Weights
    N(0, 1/(4 width)), those that write into the residual stream smaller by sqrt(2 depth); biases 0. 109,568 parameters
    for 20 tokens at the defaults.

    Source: A. Radford et al., Language models are unsupervised multitask learners (GPT-2, 2019), its pre-norm form.
    Differs from it: the weights' standard deviation follows the width; GPT-2 has 0.02 at all of them.

    Args:
        vocabulary: of the task.
        width: of the residual stream; a multiple of heads.
        depth: blocks.
        heads: of each attention.
        context: the longest sequence that it takes.
        dropout: probability, of attention weights and of what is added to the stream.

    Raises ValueError for values out of their ranges, and if heads do not divide width.
    """

    def __init__(
        self, vocabulary: int, width: int = 64, depth: int = 2, heads: int = 4, context: int = 128, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_ranges(width=width, heads=heads, context=context, dropout=dropout, **{"transformer.depth": depth})
        if width % heads:
            raise ValueError(f"heads must divide width, and {heads} does not divide {width}")
        self.context = context
        self.embedding, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embedding.weight
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                into_stream = name.endswith(("project", "narrow"))
                nn.init.normal_(module.weight, std=0.5 * width**-0.5 / ((2 * depth) ** 0.5 if into_stream else 1.0))
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.embedding(tokens) + self.positions.weight[: tokens.shape[1]]
        logits: Tensor = self.head(self.norm(self.blocks(self.drop(h))))
        return logits
