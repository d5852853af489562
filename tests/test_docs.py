"""The documents name tests, commands and files that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_every_promise_names_a_test_that_is_there() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`", text)
    assert len(named) > 40
    for file, test in named:
        assert (ROOT / file).is_file(), file
        assert not test or f"\ndef {test}(" in (ROOT / file).read_text(), f"{file}::{test}"
    assert not re.findall(r"`(?:::)?test_\w+", text), "a test is named without its file"


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", *(f"docs/{f.name}" for f in ROOT.glob("docs/*.md"))]
)
def test_documents_name_files_that_are_there(document: str) -> None:
    text = (ROOT / document).read_text()
    for path in re.findall(r"`((?:configs|deeprelax|docs|tests)/[\w/]+\.\w+)`", text):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / document).parent.joinpath(path).exists(), path


def test_the_map_of_the_house_shows_every_room() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for room in (ROOT / "deeprelax").iterdir():
        if (room / "__init__.py").is_file():
            assert f"      {room.name}/ " in text, room.name
