"""Test `deeprelax predict`, and `deeprelax evaluate` with other images."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deeprelax.cli import main
from tests.cli.pictures import TRAIN, write, write_splits
from tests.quick import directory

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, and a network that tells dark from light."""
    folder = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(folder):
        write_splits()
        assert main([*TRAIN, f"data_dir={folder}"]) == 0
    return folder


@pytest.fixture
def run(trained: Path) -> str:
    """A copy of that, here."""
    for name in ("outputs", "pictures"):
        shutil.copytree(trained / name, name)
    return str(directory())


def test_a_run_ends_with_its_errors_by_class(run: str) -> None:
    by_class, closing = (Path(run) / "train.log").read_text().splitlines()[-2:]
    assert by_class.endswith(" error by class (confusion.png): mean 0.00 %, largest 0.00 % of class dark")
    assert " test error 0.00 % " in closing


def test_files_of_any_size_and_colour(run: str, deeprelax: Command) -> None:
    write(Path("others"), 1, (30, 21), "RGB")
    status, out, err = deeprelax(
        "predict", run, "others/light/0.png", "others/dark/0.png", "--top", "2", "--out", "a.csv"
    )
    assert (status, err) == (0, "")
    heading, first, second, used, closing = out.splitlines()
    assert heading.split() == ["file", "class", "probability", "class_2", "probability_2"]
    for line, (one, other) in ((first, ("light", "dark")), (second, ("dark", "light"))):
        file, found, probability, found_2, probability_2 = line.split()
        assert (file, found, found_2) == (f"others/{one}/0.png", one, other)
        assert float(probability) > 0.5 > float(probability_2)
        assert float(probability) + float(probability_2) == pytest.approx(1, abs=2e-4)
    assert used == "(weights=last, after 24 gradient evaluations)"
    assert closing == "2 rows in a.csv"
    rows = list(csv.reader(Path("a.csv").read_text().splitlines()))
    assert rows[0] == heading.split()
    assert [row[:2] for row in rows[1:]] == [["others/light/0.png", "light"], ["others/dark/0.png", "dark"]]


def test_a_labelled_folder_is_scored(run: str, deeprelax: Command) -> None:
    write(Path("mixed"), 3)
    Path("mixed/light/0.png").rename("mixed/dark/9.png")  # one light picture among the dark ones
    status, out, err = deeprelax("predict", run, "mixed", "--out", "a.csv")
    assert (status, err) == (0, "")
    assert out.splitlines()[-5:] == [
        "error 16.67 % (1 of 6 images), mean over the classes 12.50 %",
        "confusion matrix: a row for each class, a column for each prediction",
        "class  dark  light  images    recall",
        "dark      3      1       4   75.00 %",
        "light     0      2       2  100.00 %",
    ]
    assert [row["label"] for row in csv.DictReader(Path("a.csv").read_text().splitlines())] == ["dark"] * 4 + [
        "light"
    ] * 2
    # the folder above test/, and folders with other names, which are not scored
    assert "error 0.00 % (0 of 10 images)" in deeprelax("predict", run, "pictures")[1]
    Path("mixed").rename("light")
    status, out, err = deeprelax("predict", run, "light/dark", "light/light")
    assert (status, err, len(out.splitlines())) == (0, "", 8)


def test_many_files_are_not_all_shown(run: str, deeprelax: Command) -> None:
    write(Path("many"), 21)
    _, out, _ = deeprelax("predict", run, "many/dark", "many/light")
    assert len(out.splitlines()) == 23
    assert "\nand 22 more: --out FILE writes all\n" in out


def test_what_cannot_be_predicted_is_said_in_a_sentence(run: str, deeprelax: Command) -> None:
    Path("broken.png").write_bytes(b"\x89PNG nothing")
    Path("empty/.hidden").mkdir(parents=True)
    write(Path("two"), 1)
    Path("two/grey").mkdir()
    for words, message in [
        (["nowhere", "a.png"], "nowhere is not a directory: give the directory of a run"),
        ([run, "a.png"], "a.png is not there: give image files, or a folder of them"),
        ([run, "broken.png"], "broken.png is not a whole"),
        ([run, "empty"], "empty holds no images: give files, or a folder of them"),
        ([run, "two"], "two/grey is no class of this run (dark, light): rename it, move it away, or give the files"),
        ([run, "two/dark", "--top", "3"], "--top 3 is out of range: it must be an integer from 1 to 2"),
        ([run, "two/dark", "--out", "no/a.csv"], "--out no/a.csv: there is no folder no: make it first"),
        ([run], "the following arguments are required: FILE|FOLDER: see deeprelax predict --help"),
    ]:
        status, out, err = deeprelax("predict", *words)
        assert (status, out, err.count("\n")) == (1, "", 1), err
        assert err.startswith(f"deeprelax: {message}")
    assert "--top K" in deeprelax("predict", "--help")[1]


def test_a_folder_that_has_moved_is_evaluated_as_before(run: str, deeprelax: Command) -> None:
    before = deeprelax("evaluate", run)[1]
    assert before.endswith("as in result.json\n")
    Path("pictures").rename("moved")
    status, _, err = deeprelax("evaluate", run)
    assert (status, err.count("\n")) == (1, 1)
    numbers = before[before.index("test_loss") :]  # without what reading the images for the first time says
    assert deeprelax("evaluate", run, "dataset.path=moved") == (0, numbers, "")


def test_other_images_are_scored_with_the_runs_own_normalisation(run: str, deeprelax: Command) -> None:
    """All are dark, those called light too: normalised by themselves, some would be light."""
    for name in ("train", "test"):
        write(Path("night") / name, 4)
        write(Path(f"more-{name}"), 4, seed=2)
        for file in (Path("night") / name / "light").iterdir():
            (Path(f"more-{name}/dark") / file.name).replace(file)
    status, out, err = deeprelax("evaluate", run, "dataset.path=night")
    assert (status, err) == (0, "")
    assert "test_error 50 %\ntest_balanced_error 50 %\nerror 50.00 % (4 of 8 images)" in out
    assert "! that is the error of always answering dark, the largest class\n" in out
    assert out.endswith("(8 images of night/test, which are not those of the run)\n")
    assert deeprelax("evaluate", run, "dataset.path=night/test")[1] == out


def test_what_has_nothing_to_do_with_the_images_is_said(run: str, deeprelax: Command) -> None:
    Path("moved").mkdir()
    Path("pictures").rename("moved/pictures")
    status, _, err = deeprelax("evaluate", run, "dataset.path=moved/pictures", "hardware.device=cuda")
    if not torch.cuda.is_available():
        assert (status, "hardware.device=cuda, but torch sees no GPU" in err) == (1, True)
    Path("moved/pictures").rename("pictures")
    next(Path("pictures/train/dark").iterdir()).unlink()
    status, _, err = deeprelax("evaluate", run, "dataset.path=pictures")
    assert (status, "are not those that" in err) == (1, True)


def test_a_run_of_another_data_set_is_evaluated_on_a_folder(deeprelax: Command) -> None:
    write(Path("0"), 1)
    assert deeprelax("train", "epochs=0.1", "optimizer=sgd", "hardware.threads=1", "train.bn_batches=2")[0] == 0
    result = json.loads((directory() / "result.json").read_text())
    assert len(result["test_class_errors"]) == 10
    Path("digits").mkdir()
    Path("0").rename("digits/0")
    status, out, err = deeprelax("evaluate", str(directory()), "dataset.path=digits")
    assert (status, err) == (0, "")
    assert out.endswith("(2 images of digits, which are not those of the run)\n")


def test_other_keys_are_refused(run: str, deeprelax: Command) -> None:
    for word, message in [
        ("optimizer.lr=3", "optimizer.lr cannot be set here: evaluate takes data_dir, dataset.path, "),
        ("dataset.pth=a", "dataset.pth cannot be set here (did you mean dataset.path?): evaluate takes"),
        ("dataset.path=nowhere", "dataset.path=nowhere is not a folder: give the one that holds the images"),
        ("dataset.path=outputs", "outputs holds no folder that is called as a class of "),
    ]:
        status, out, err = deeprelax("evaluate", run, word)
        assert (status, out, err.count("\n")) == (1, "", 1), err
        assert err.startswith(f"deeprelax: {message}")
