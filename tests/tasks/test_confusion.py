"""Which classes are taken for which: matrices that can be counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deeprelax.tasks.confusion import (
    MOST_CLASSES,
    balanced_error,
    class_errors,
    confusion,
    constant_answer,
    draw_confusion,
    summary,
)

LABELS = torch.tensor([0, 0, 0, 0, 1, 1, 3])
PREDICTED = torch.tensor([0, 0, 0, 1, 1, 3, 0])
MATRIX = [[3, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]]
NAMES = ("one", "two", "absent", "four")


def test_rows_are_labels_and_columns_predictions() -> None:
    matrix = confusion(LABELS, PREDICTED, 4)
    assert matrix.tolist() == MATRIX
    assert class_errors(matrix) == [25.0, 50.0, None, 100.0]
    assert balanced_error(matrix) == pytest.approx((25 + 50 + 100) / 3)
    assert summary(matrix, NAMES) == {
        "test_balanced_error": pytest.approx(175 / 3),
        "test_class_errors": {"one": 25.0, "two": 50.0, "absent": None, "four": 100.0},
        "test_confusion": MATRIX,
        # 4 of 7 are right, as many as are of class one
        "notes": ["the test error equals that of always answering one, the largest class of the test images"],
    }


def test_a_network_that_is_better_than_the_largest_class_gets_no_note() -> None:
    matrix = confusion(LABELS, torch.tensor([0, 0, 0, 1, 1, 1, 0]), 4)
    assert constant_answer(matrix) is None
    assert "notes" not in summary(matrix, NAMES)
    assert constant_answer(confusion(LABELS, torch.zeros(7, dtype=torch.int64), 4)) == 0


def test_a_matrix_of_many_classes_is_not_stored() -> None:
    classes = tuple(map(str, range(MOST_CLASSES + 1)))
    labels = torch.arange(len(classes))
    found = summary(confusion(labels, labels, len(classes)), classes)
    assert found == {"test_balanced_error": 0.0, "test_class_errors": dict.fromkeys(classes, 0.0)}


@pytest.mark.parametrize("classes", [2, 30, 250])
def test_whatever_the_names_a_picture_is_drawn(classes: int, tmp_path: Path) -> None:
    labels = torch.arange(classes)
    names = ["$x", "名前 $a_$", *(f"a long name of class {i}" for i in range(2, classes))]
    draw_confusion(confusion(labels, labels.flip(0), classes), names, tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
