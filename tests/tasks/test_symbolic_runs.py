"""Symbolic solutions from the command line: the formula, a user's own equation, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.quick import directory

Command = Callable[..., tuple[int, str, str]]
OWN = ["task.equation=own", "task.residual=u_t + 2*u", "task.conditions=['u(0) = 3']", "task.domain={t: [0, 1]}"]
SHORT = ["train", "task=symbolic", "task.points=64", "batch_size=16", "epochs=4", "task.harden_after=2"]


def test_growth_is_solved_and_its_formula_told(deeprelax: Command) -> None:
    """One seed, so this passes always or never for one release of torch on one kind of machine."""
    run = ["train", "experiment=symbolic_growth", "optimizer=adamw", "seed=1000"]
    status, out, err = deeprelax(*run)
    assert (status, err) == (0, "")
    assert "test exact 1.00" in out
    assert "found exp(t)\n" in out
    result = json.loads((directory() / "result.json").read_text())
    assert (result["formula"], result["latex"], result["precision"]) == ("exp(t)", "e^{t}", "float64")
    assert result["formula_unrounded"] != "exp(t)"
    assert {f"test_{name}" for name in ("loss", "exact", "residual", "conditions", "relative_l2")} <= set(result)
    assert "found exp(t)\n" in deeprelax(*run)[1]  # a finished run
    status, out, _ = deeprelax("compare", str(directory()))
    assert status == 0
    assert "exact" in out


def test_an_equation_of_ones_own(deeprelax: Command) -> None:
    status, out, err = deeprelax(*SHORT, *OWN, "optimizer=adamw")
    assert (status, err) == (0, "")
    assert "\nfound " in out
    result = json.loads((directory() / "result.json").read_text())
    assert "test_relative_l2" not in result
    assert 0 <= result["test_exact"] <= 1
    assert deeprelax("evaluate", str(directory()))[1].endswith("as in result.json\n")


def test_weights_alone_start_a_run_that_is_not_hardened(deeprelax: Command) -> None:
    assert deeprelax(*SHORT, "optimizer=adamw", "output_dir=first")[0] == 0
    words = [f"init_from={directory('first')}", "task.harden_after=9", "optimizer=adamw", "output_dir=second"]
    status, _, err = deeprelax(*SHORT, *words)
    assert (status, err) == (0, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task.equation=het"], "task.equation=het is out of range: it must be one of heat, wave, poisson, growth"),
        (["task.equation=own"], "task.equation=own needs task.residual too"),
        (["task.residual=u_t"], "task.residual is of an equation of your own, not of heat: set task.equation=own too"),
        ([*OWN, "task.residual=u_t - v"], "task.residual: v in 'u_t - v' is neither a coordinate (t) nor u"),
        ([*OWN, "task.residual=t"], "task.residual: 't' has no u in it"),
        ([*OWN, "task.conditions=['u(0)']"], "task.conditions: 'u(0)' is no condition: write it as u(0, x) = sin(x)"),
        ([*OWN, "task.domain={t: 1}"], "task.domain: the ends of t must be two numbers, as [0, pi], not 1"),
        (["optimizer=lbfgs"], "task.harden_after=2.0 change the loss from time to time"),
        (["model=mlp_field"], "task=symbolic reads a formula out of its network: take model=expression_tree, not"),
        (["model.operators=[sin, log]"], "it must be a list of identity, square, sin, exp, tanh, one, each once"),
        (["hardware.compile=true"], "hardware.compile=true cannot differentiate the loss of task=symbolic twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_a_sentence(words: list[str], message: str, deeprelax: Command) -> None:
    status, _, err = deeprelax(*SHORT, *words)
    assert (status, err.count("\n")) == (1, 1), err
    assert message in err
