"""`deeprelax pde`: one sentence for each mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., tuple[int, str, str]]
MISTAKES = {
    ("smooth", "time=-1"): "time=[-1.0] is out of range: it must be 1 to 12 values, each a number from 1e-06 to 1e+06",
    ("smooth", "time=[]"): "time=[] is out of range",
    ("smooth", "time="): "time=[] is out of range",
    ("smooth", "time=1e308"): "each a number from 1e-06 to 1e+06",
    ("smooth", "temperature=1e-320"): "it must be 0, or a number from 1e-06 to 1e+06",
    ("smooth", "time=1000", "temperature=1", "problem=cosine"): "lower points, time or temperature",
    ("smooth", "time=a"): "time[0]: value 'a' of type 'str' could not be converted to Float",
    ("smooth", "tme=1"): "tme is not a key (did you mean time?)",
    ("smooth", "problem=ruogh"): "problem=ruogh is out of range: it must be rough, double_well",
    ("smooth", "dimension=3"): "dimension=3 is out of range: it must be an integer from 1 to 2",
    ("smooth", "time=1e6", "dimension=2"): "lower points, time or temperature",
    ("control", "start=5"): "start=5.0 is out of range: it must be a number in (-4, 4)",
    ("control", "temperature=0.001"): "temperature=0.001 is too low for the value function: at least",
    ("control", "steps=20"): "steps=20 is too few for rough: at least",
    ("control", "problem=double_well", "temperature=100"): "horizon=0.5 at temperature=100 is too long",
    ("control", "paths=10000000"): "paths=10000000 of steps=500 are more than 1e+09 steps in all: lower one",
    ("widen", "sharp_curvature=2"): "sharp_curvature=2 must be above wide_curvature=2: raise it",
    ("widen", "temperature=10"): "needs too fine or too long a grid: lower sharp_curvature, temperature, longest or",
    ("homogenize", "epsilon=1e-6"): "epsilon=1e-06 takes 1e+08 steps of 2000 paths: at most 1e+06",
    (
        "homogenize",
        "temperature=1000",
        "paths=10",
        "epsilon=0.2",
    ): "the paths run away at epsilon=0.2, temperature=1000",
    ("homogenize", "gamma=0.05", "epsilon=10", "fast_step=0.029", "horizon=100"): "epsilon=10 makes x unstable",
    ("descend", "gamma=1e-6", "optimizer=entropy_sgd"): "gamma=1e-06 makes the inner chain of entropy_sgd unstable",
    ("descend", "optimizer=entropy_sgd", "gradient_evaluations=50"): "is less than one step of entropy_sgd takes, 100",
    (
        "descend",
        "optimizer=hj",
        "problem=double_well",
        "starts=20",
        "gradient_evaluations=1000",
    ): "hj runs away on double_well: lower hj_gamma",
    ("descend", "starts=100000", "optimizer=sgd"): "starts=100000 of gradient_evaluations=8000 are more than 1e+08",
    ("verify", "chains=10"): "chains=10 is out of range: it must be an integer from 200",
    ("homogenize", "problem=rough", "paths=10"): "fast_step=0.02 is unstable on rough: less than",
    ("descend", "optimizer=adam"): "optimizers=['adam'] is out of range: it must be 1 to 12 values, each sgd,",
    ("verify", "claims=7"): "claims=[7] is out of range: it must be 1 to 12 values, each an integer from 1 to 6",
    ("smoth",): "pde smoth is not a command (did you mean smooth?): one of smooth, widen",
}


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_gets_one_sentence(arguments: tuple[str, ...], deeprelax: Command, tmp_path: Path) -> None:
    status, out, err = deeprelax("pde", *arguments)
    assert (status, out) == (1, "")
    assert MISTAKES[arguments] in err
    assert err.count("\n") == 1
    assert not list(tmp_path.rglob("*.png"))
