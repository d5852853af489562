"""`deeprelax pde`: files, lists with commas, help."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml

from deeprelax.commands.pde import as_list
from deeprelax.configuration.comments import read
from deeprelax.configuration.hydra_app import configuration_folder
from deeprelax.pde import experiments
from deeprelax.pde.claims import Claim
from deeprelax.pde.experiments import COMMANDS
from deeprelax.pde.experiments.descend_figure import COLOURS
from deeprelax.pde.experiments.descend_paths import REMEDY, Descend, Descent
from deeprelax.pde.experiments.smooth import Smooth
from deeprelax.pde.experiments.smooth import run as run_smooth
from deeprelax.pde.losses import OPTIMIZERS
from deeprelax.pde.problems.catalog import PROBLEMS
from deeprelax.pde.problems.functions import double_well

Command = Callable[..., tuple[int, str, str]]
SMALL = {
    "smooth": ["points=64"],
    "widen": ["count=3"],
    "control": ["problem=double_well", "paths=200", "steps=20", "horizon=0.05"],
    "homogenize": ["paths=20", "epsilon=0.2,0.1", "horizon=0.5"],
    "descend": [
        "optimizer=entropy_sgd,sgd",
        "starts=6",
        "gradient_evaluations=200",
        "problem=rastrigin",
        "dimension=2",
    ],
    "directions": ["chains=10"],
}


def test_every_command_has_a_configuration_and_an_experiment() -> None:
    files = {file.stem for file in (configuration_folder() / "pde").glob("*.yaml")}
    assert experiments.__file__ is not None
    beside = {file.stem for file in Path(experiments.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(COMMANDS) == files == {name for name in beside if "_" not in name}
    assert {name.partition("_")[0] for name in beside} == files
    for command in COMMANDS:
        assert callable(experiments.module(command).run)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_settings_are_the_keys_of_the_yaml_and_launchers_can_pickle_them(command: str) -> None:
    file = configuration_folder() / "pde" / f"{command}.yaml"
    given = {key: value for key, value in yaml.safe_load(file.read_text()).items() if key != "defaults"}
    schema = experiments.settings(command)
    assert [field.name for field in fields(schema)] == ["output_dir", *given]  # in the same order: --help shows it
    for field in fields(schema):
        allowed, described = field.metadata["check"]
        assert described
        assert field.name == "output_dir" or allowed(given[field.name])
    assert pickle.loads(pickle.dumps(schema)) is schema


def test_the_comment_beside_problem_lists_the_catalogue() -> None:
    text = (configuration_folder() / "pde/smooth.yaml").read_text()
    comment = re.search(r"^problem:.*#(.*)$", text, re.MULTILINE)
    assert comment is not None
    assert re.findall(r"(?!or\b)\b\w+", comment[1]) == list(PROBLEMS)


def test_what_is_known_of_the_optimizers_of_descend_is_known_of_each() -> None:
    settings = Descend(gamma=0.15, hj_gamma=0.4, temperature=1.0, inner_steps=100, seed=0)
    assert set(REMEDY) == set(OPTIMIZERS) == set(COLOURS)
    assert all(Descent(double_well(), settings).keywords(name) for name in REMEDY)


@pytest.mark.parametrize(
    "command", [pytest.param(c, marks=[pytest.mark.slow] * (c in ("directions", "widen", "homogenize"))) for c in SMALL]
)
def test_a_command_writes_a_figure_and_its_arrays(command: str, deeprelax: Command, tmp_path: Path) -> None:
    status, out, err = deeprelax("pde", command, *SMALL[command])
    assert (status, err) == (0, "")
    files = sorted((tmp_path / "outputs" / "pde" / command).iterdir())
    assert [file.suffix for file in files] == [".npz", ".pdf", ".png"]
    assert str(files[0].with_suffix(".png")) in out
    with np.load(files[0]) as arrays:
        stated = json.loads(str(arrays["configuration"]))
        assert stated["output_dir"] == "outputs"
        assert all(np.isfinite(arrays[key]).any() for key in arrays if key != "configuration")
        told = "|".join(re.sub(r"[A-Z]{2,}|(?<= )N(?= )", ".+", name) for name in of_help(command))
        assert [key for key in arrays if key != "configuration" and not re.fullmatch(told, key)] == []


def of_help(command: str) -> list[str]:
    """The arrays that `--help` says are written."""
    return re.findall("`(.*?)`", read(configuration_folder() / "pde" / f"{command}.yaml").head)


def test_lists_with_commas(deeprelax: Command, tmp_path: Path) -> None:
    line = ("problem=double_well", "time=0.05,0.2,0.5", "temperature=0.1", "dimension=2", "points=33")
    status, _, err = deeprelax("pde", "smooth", *line)
    assert (status, err) == (0, "")
    with np.load(tmp_path / "outputs/pde/smooth/double_well-2d.npz") as arrays:
        assert arrays["time"].tolist() == [0.05, 0.2, 0.5]
        assert arrays["hj"].shape == (3, 33, 33)


@pytest.mark.parametrize(
    "arguments",
    [
        ("smooth", "time=1000", "points=128"),
        ("smooth", "problem=double_well", "dimension=2", "time=3", "temperature=1", "points=64"),
        ("homogenize", "epsilon=0.1,0.1", "paths=20"),
        pytest.param(("widen", "gap=10", "count=3", "longest=10"), marks=pytest.mark.slow),
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_unusual_values_are_drawn_without_a_word(arguments: tuple[str, ...], deeprelax: Command) -> None:
    status, out, err = deeprelax("pde", *arguments)
    assert (status, err) == (0, "")
    assert "nan" not in out
    assert out.count("eps=") == (arguments[0] == "homogenize")


def test_equal_global_minima_are_told(deeprelax: Command) -> None:
    arguments = ("problem=double_well", "optimizer=sgd", "starts=4", "gradient_evaluations=20", "dimension=2")
    status, out, _ = deeprelax("pde", "descend", *arguments)
    assert status == 0
    assert "note: 2 global minima along an axis, the basin of one counts" in out


def test_a_claim_named_twice_is_measured_once(deeprelax: Command) -> None:
    status, out, _ = deeprelax("pde", "verify", "claims=4,4")
    assert status == 0
    assert out.count("heat keeps C") == 1


def test_figures_repeat_bit_for_bit() -> None:
    settings = Smooth(problem="double_well", dimension=1, time=[0.1], temperature=0.1, points=32)
    for kind in ("png", "pdf"):
        one, other = (run_smooth(settings).rendered(kind) for _ in range(2))
        assert one == other


@pytest.mark.parametrize(
    ("word", "sweep", "expected"),
    [
        ("time=0.1,0.2", False, "time=[0.1,0.2]"),
        ("time=0.1", False, "time=[0.1]"),
        ("time=[0.1]", False, "time=[0.1]"),
        ("time=0.1,0.2", True, "time=[0.1],[0.2]"),
        ("temperature=0.1,0.2", True, "temperature=0.1,0.2"),
        ("--multirun", False, "--multirun"),
    ],
)
def test_lists(word: str, sweep: bool, expected: str) -> None:
    assert as_list("smooth", word, sweep) == expected


def test_optimizer_means_optimizers() -> None:
    assert as_list("descend", "optimizer=sgd,heat", False) == "optimizers=[sgd,heat]"


def test_a_sweep_writes_a_folder_for_each_job(deeprelax: Command, tmp_path: Path) -> None:
    status, _, err = deeprelax("pde", "smooth", "-m", "time=0.1,0.2", "points=16")
    assert (status, err) == (0, "")
    assert len(list((tmp_path / "outputs/pde/smooth").glob("*/rough.png"))) == 2


def test_help(deeprelax: Command) -> None:
    status, out, _ = deeprelax("pde")
    assert status == 0
    assert all(f"  {name}" in out for name in COMMANDS)
    status, out, _ = deeprelax("pde", "smooth", "--help")
    assert status == 0
    assert "temperature=0.1" in out


def test_help_and_unknown_commands_import_no_library_of_numbers() -> None:
    code = (
        "import sys; from deeprelax.cli import main; status = main(['pde', '--help']), main(['pde', 'smoth']); "
        "sys.exit(status != (0, 1) or bool({'numpy', 'scipy', 'matplotlib', 'torch'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_verify_writes_what_it_prints_and_fails_when_a_claim_does(
    deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, err = deeprelax("pde", "verify", "claims=4")
    assert (status, err) == (0, "")
    record = json.loads((tmp_path / "outputs/pde/verify/verify.json").read_text())
    assert record["all_hold"] is True
    assert len(record["claims"]) == out.count(" holds\n") - 1  # the heading has the word too
    monkeypatch.setattr(
        "deeprelax.pde.experiments.widen_claims.claims", lambda: [Claim(4, "the moon is cheese", 2.0, 1.0)]
    )
    status, out, err = deeprelax("pde", "verify", "claims=4")
    assert status == 1
    assert "FAILS" in out
    assert "1 of 1 claims fail" in err
    assert json.loads((tmp_path / "outputs/pde/verify/verify.json").read_text())["all_hold"] is False
