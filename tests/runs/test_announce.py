"""What is said before the start: outer steps, too few of them, and budgets that end on a whole one."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeprelax.runs.announce import FEW, steps_problem
from deeprelax.training.cadence import Budget
from tests.quick import QUICK

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget(4, 1437, 128, 20), "epochs=4 is only 2 outer steps of 20 gradient evaluations and leaves 4 "
         "evaluations over: epochs=35.7 makes 20 whole ones, epochs=5.4 makes 3; or lower batch_size"),
        (Budget(0.5, 1437, 128, 20), "epochs=0.5 is only 1 outer step of 20 gradient evaluations, which is 15 more "
         "than there are: epochs=35.7 makes 20 whole ones, epochs=1.8 makes 1; or lower batch_size"),
        (Budget(1, 100, 10, 5), "epochs=1 is only 2 outer steps of 5 gradient evaluations: epochs=10 makes 20 whole "
         "ones; or lower batch_size"),
        (Budget(1, 100, 10, 1), "epochs=1 is only 10 outer steps: epochs=2 makes 20 whole ones; or lower batch_size"),
        (Budget(4, 100, 10, 7, before=20, steps_before=4), "epochs=4 is only 2 outer steps of 7 gradient evaluations "
         "and leaves 6 evaluations over: epochs=16 makes 20 whole ones, epochs=4.1 makes 3; or lower batch_size"),
        (Budget(4.99, 100, 1, 20), "whole outer steps of 20 come to 480 evaluations, not 499: epochs=4.8 and epochs=5 "
         "end on a whole one"),
        (Budget(2, 100, 10, 1), ""),
        (Budget(1, 100, 10, 20, least=3), ""),
    ],
)  # fmt: skip
def test_the_sentence(budget: Budget, message: str) -> None:
    assert steps_problem(budget) == message


@given(
    st.decimals("0.01", "50", places=2),
    st.integers(1, 3000),
    st.integers(1, 300),
    st.integers(1, 30),
    st.integers(0, 40),
)
def test_every_budget_that_is_named_ends_on_whole_outer_steps(
    epochs: float, examples: int, batch_size: int, per_step: int, before: int
) -> None:
    def budget(epochs: float) -> Budget:
        return Budget(float(epochs), examples, batch_size, per_step, before, before)

    problem = steps_problem(budget(epochs))
    named = re.findall(r"epochs=([\d.]+) makes (\d+)", problem)
    assert bool(named) == (budget(epochs).outer_steps - before < FEW)
    for text, steps in named:
        found = budget(float(text))
        assert (found.outer_steps - before, found.evaluations - found.taken) == (int(steps), 0)


def test_it_is_said_before_the_start(deeprelax: Command) -> None:
    status, out, err = deeprelax("train", *QUICK, "epochs=4", "optimizer=entropy_sgd")
    assert (status, err) == (0, "")
    assert "4 passes over 200 images = 25 gradient evaluations of 32 images, 1 outer step\n" in out
    assert (
        "epochs=4 is only 1 outer step of 20 gradient evaluations and leaves 5 evaluations over: epochs=64 makes 20 "
        "whole ones, epochs=6.4 makes 2; or lower optimizer.inner_steps or batch_size\n"
    ) in out
