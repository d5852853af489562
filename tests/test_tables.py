"""Tables for the terminal."""

from __future__ import annotations

from deeprelax.tables import aligned


def test_columns_are_as_wide_as_their_longest_cell_and_lines_end_with_a_letter() -> None:
    rows = [("name", "n", "where"), ("a", "10", "here"), ("longer", "7", "")]
    assert aligned(rows, "<><") == [
        "name     n  where",
        "a       10  here",
        "longer   7",
    ]
    assert aligned([("", "x")], "<<") == ["  x"]


def test_a_first_column_that_is_too_long_goes_on_below() -> None:
    rows = [("setting", "error"), ("optimizer=sgd lr=0.1", "1.25")]
    assert aligned(rows, "<>", width=22) == [
        "setting          error",
        "optimizer=sgd     1.25",
        "  lr=0.1",
    ]
