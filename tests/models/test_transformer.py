"""The causal transformer: no place sees a later one, the head is the embedding, parameters as counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deeprelax.models import Transformer


def network(**options: int | float) -> Transformer:
    torch.manual_seed(0)
    return Transformer(11, **{"width": 24, "depth": 3, "heads": 4, "context": 16, **options})


def test_a_later_token_changes_no_earlier_logit() -> None:
    model = network().double().eval()
    tokens = torch.randint(11, (5, 16), generator=torch.Generator().manual_seed(1))
    before = model(tokens)
    for place in (0, 7, 15):
        changed = tokens.clone()
        changed[:, place] = (changed[:, place] + 1) % 11
        after = model(changed)
        torch.testing.assert_close(after[:, :place], before[:, :place], rtol=0, atol=1e-12)
        assert ((after - before)[:, place:].abs().amax((0, 2)) > 1e-6).all()  # it and all later ones see it


def test_a_shorter_text_has_the_logits_of_a_longer_ones_beginning() -> None:
    model = network().double().eval()
    tokens = torch.randint(11, (2, 16), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model(tokens[:, :5]), model(tokens)[:, :5], rtol=0, atol=1e-12)


def test_the_head_is_the_embedding() -> None:
    model = network()
    assert model.head.weight is model.embedding.weight
    assert "head.weight" not in dict(model.named_parameters())
    copy = network()
    copy.load_state_dict(model.state_dict())
    assert copy.head.weight is copy.embedding.weight
    w, length, vocabulary, depth = 24, 16, 11, 3
    block = 2 * 2 * w + (3 * w * w + 3 * w) + (w * w + w) + (4 * w * w + 4 * w) + (4 * w * w + w)
    assert sum(p.numel() for p in model.parameters()) == (vocabulary + length) * w + depth * block + 2 * w
    assert sum(p.numel() for p in Transformer(20).parameters()) == 109_568
    assert sum(p.numel() for p in Transformer(20, context=64).parameters()) == 105_472


def test_the_first_prediction_is_near_a_guess_and_position_matters() -> None:
    model = network().eval()
    tokens = torch.randint(11, (64, 16), generator=torch.Generator().manual_seed(1))
    loss = nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.roll(-1, 1).flatten())
    assert loss.item() == pytest.approx(torch.tensor(11.0).log().item(), abs=0.3)
    same = model(torch.ones(1, 16, dtype=torch.int64))[0]
    assert (same[1:] - same[:-1]).abs().amax(1).min() > 1e-4  # equal tokens at other positions


def test_dropout_is_off_in_evaluation_alone() -> None:
    model, tokens = network(dropout=0.5), torch.ones(2, 8, dtype=torch.int64)
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 5}, "heads must divide width, and 5 does not divide 24"),
        ({"depth": 0}, "depth must be an integer from 1 to 1000, not 0"),
        ({"context": 0}, "context must be an integer from 1 to 100000, not 0"),
        ({"dropout": 1.0}, r"dropout must be a number in \[0, 1\), not 1.0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**options)
