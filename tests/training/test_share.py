"""What cannot be shared among ranks is refused."""

from __future__ import annotations

import pytest

from deeprelax.errors import UserError
from deeprelax.parallel.ranks import SOLO, Ranks
from deeprelax.training.share import Share
from tests.images import classification, random_images


def test_a_loss_that_is_no_mean_is_not_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    task = classification(random_images(20), 4)
    Share(Ranks(0, 2, 0, 2), "data").check(task)
    monkeypatch.setattr(type(task), "additive", False)
    Share(SOLO, "data").check(task)
    Share(Ranks(0, 2, 0, 2), "chains").check(task)
    with pytest.raises(UserError, match="this loss is no mean: use hardware"):
        Share(Ranks(0, 2, 0, 2), "data").check(task)
