"""A share of the training labels is wrong: as many as asked for, the same ones always, and no others."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch

from deeprelax.data.images import ImageData, Split
from deeprelax.data.sources.label_noise import with_label_noise
from deeprelax.errors import UserError
from tests.quick import QUICK, directory

Command = Callable[..., tuple[int, str, str]]
WRONG = [1, 7, 11, 14]  # of 20 labels a fifth, by seed 0


def data(n: int = 3000, classes: int = 3) -> ImageData:
    images = torch.zeros(n, 1, 2, 2, dtype=torch.uint8)
    split = Split(images, torch.arange(n) % classes, tuple(map(str, range(n))))
    return ImageData(split, split, tuple("abc"[:classes]), split)


def test_so_many_become_another_class_each_of_the_others_alike() -> None:
    before = data()
    after = with_label_noise(before, 0.4, 7)
    labels, wrong = before.train.labels, after.train.labels != before.train.labels
    assert wrong.sum() == 1200
    shifts = (after.train.labels - labels)[wrong] % 3
    # 1200 fair coins: 600 +- 17.3; outside of 5 deviations in one of 1.7 million
    assert abs(int((shifts == 1).sum()) - 600) < 87
    assert set(after.train.labels.tolist()) == {0, 1, 2}
    for other in (after.test, after.validation):
        assert other is not None
        assert torch.equal(other.labels, labels)
    assert (after.train.files, after.train.images) == (before.train.files, before.train.images)
    assert torch.equal(before.train.labels, torch.arange(3000) % 3)  # the caller's are as they were
    assert (with_label_noise(before, 1.0, 7).train.labels != labels).all()


def test_it_is_a_function_of_the_seed_and_less_noise_is_part_of_more() -> None:
    before = data()
    first = [with_label_noise(before, noise, 7).train.labels for noise in (0.2, 0.4)]
    assert torch.equal(first[0], with_label_noise(before, 0.2, 7).train.labels)
    assert not torch.equal(first[0], with_label_noise(before, 0.2, 8).train.labels)
    wrong = first[0] != before.train.labels
    assert torch.equal(first[1][wrong], first[0][wrong])
    assert with_label_noise(before, 0.0, 7) is before
    found = torch.nonzero(with_label_noise(data(20), 0.2, 0).train.labels != data(20).train.labels).flatten()
    assert found.tolist() == WRONG  # part of published results


def test_one_class_has_no_other() -> None:
    with pytest.raises(UserError, match=r"dataset\.label_noise=0\.1, but there is one class and no other"):
        with_label_noise(data(10, 1), 0.1, 0)


def test_a_run_says_how_many_and_resumes_with_these_alone(deeprelax: Command) -> None:
    run = ["train", *QUICK, "optimizer=sgd", "epochs=1", "dataset.validation=50"]
    status, out, _ = deeprelax(*run, "dataset.label_noise=0.25")
    assert status == 0
    assert "50 of 200 training labels are wrong, by dataset.label_noise\n" in out
    result = json.loads((directory() / "result.json").read_text())
    assert deeprelax("evaluate", str(directory()))[1].endswith("as in result.json\n")
    assert result["train_error"] > 0
    more = ["train", f"continue_from={directory()}", "epochs=2"]
    assert "dataset.label_seed is 0 there and 1 here" in deeprelax(*more, "dataset.label_seed=1", "output_dir=b")[2]
    assert deeprelax(*more, "output_dir=c")[0] == 0
    status, _, err = deeprelax("train", "task=regression", "dataset.label_noise=0.1")
    assert (status, "dataset.label_noise=0.1 is out of range: it must be 0, for dataset=none has no images" in err) == (
        1,
        True,
    )
