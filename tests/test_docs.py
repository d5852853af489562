"""The documents name tests, commands and files that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from deeprelax import optim
from deeprelax.configuration.registry import call
from tests.optimizers import NO_RELAXATION

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("document", "at_least"), [("reliability", 40), ("methods", 10)])
def test_every_promise_names_a_test_that_is_there(document: str, at_least: int) -> None:
    text = (ROOT / "docs" / f"{document}.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`", text)
    assert len(named) > at_least
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


def test_the_page_of_methods_has_a_row_for_each_with_its_memory() -> None:
    """In copies of the weights, at the defaults: what is kept + the buffers that steps reuse."""
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", (ROOT / "docs" / "methods.md").read_text(), re.MULTILINE)
    found = {name: [cell.strip() for cell in re.split(r"(?<!\\)\|", cells)] for name, cells in rows}
    assert set(found) == set(optim.CHOICES)
    for name, cells in found.items():
        assert len(cells) == 7, f"{name}: a row of the page of methods has 8 cells"
        assert "tests/" in cells[-1], f"{name}: name the test that holds it"
        if name not in NO_RELAXATION:
            assert cells[3] == " + ".join(map(str, _copies(name))), name


def _copies(name: str) -> tuple[int, int]:
    """Of the weights, after a step of this choice with its defaults."""
    p = nn.Parameter(torch.ones(1000))
    optimizer = call("optimizer", name, [p])

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    closure.again = closure  # type: ignore[attr-defined]
    optimizer.step(closure)
    kept = sum(t.nbytes for t in optimizer.state[p].values())
    return kept // p.nbytes, (optimizer.memory() - kept) // p.nbytes
