"""Tables of the user's for task=estimation: what is read, and what is refused by file and line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from deeprelax.errors import UserError
from deeprelax.tasks.estimation.measured import read


def rows(count: int = 12) -> list[str]:
    return [f"{i / 10},{i * i % 7},{math.sin(i)}" for i in range(count)]


def test_a_table_is_read_with_its_names(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("\ufefft, x ,u\r\n" + "\r\n".join(rows()) + "\r\n\r\n", encoding="utf-8")
    data = read(str(file))
    assert data.inputs == ("t", "x")
    assert data.points.shape == (12, 2)
    assert data.values[2].item() == math.sin(2)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (None, "No such file or directory: it must be a CSV file with columns as t,x,u"),
        ([], "begins with '', and must with the names of its columns"),
        (["t,x,v", *rows()], "begins with 't,x,v'"),
        (["t,t,u", *rows()], "begins with 't,t,u'"),
        (["time,x,u", *rows()], "begins with 'time,x,u'"),
        (rows(), "begins with '0.0,0,0.0'"),
        (["t,x,u", *rows(3)], "has 3 rows below its names: at least 10 are needed"),
        (["t,x,u", *rows(), "1,2"], "line 14: 2 values, and there are 3 columns"),
        (["t,x,u", *rows(), "1,2,few"], "line 14: 'few' is no finite number"),
        (["t,x,u", *rows(), "1,nan,3"], "line 14: 'nan' is no finite number"),
        (["t,x,u", *(f"1,{i},{i * i}" for i in range(12))], "t is 1 in all rows, and must change"),
    ],
)
def test_a_table_that_cannot_be_read_is_told_by_file_and_line(
    lines: list[str] | None, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.csv"
    if lines is not None:
        file.write_text("\n".join(lines))
    with pytest.raises(UserError) as caught:
        read(str(file))
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(UserError, match="is no text in UTF-8"):
        read(str(tmp_path / "mine.csv"))
