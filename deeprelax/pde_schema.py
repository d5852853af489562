"""The schema of `deeprelax pde COMMAND`: types and ranges. Values and what they mean stand in configs/pde/."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from .configuration.schema import Check, _choice, _limited, _whole

PROBLEMS = ("rough", "double_well", "two_wells", "rastrigin", "cosine", "absolute", "quadratic", "ellipse")
CLAIMS = (1, 2, 3, 4, 5, 6)
OPTIMIZERS = ("sgd", "entropy_sgd", "hj", "hj_proximal", "heat")


def _each(allowed: Callable[[Any], bool], description: str) -> dict[str, Check]:
    def check(values: Any) -> bool:
        return 0 < len(values) <= 12 and all(allowed(v) for v in values)

    return {"check": (check, f"1 to 12 values, each {description}")}


# beyond these numbers the exponentials of the solvers leave the range of doubles
LEAST, MOST = 1e-6, 1e6
TIMES = _each(lambda v: LEAST <= v <= MOST, f"a number from {LEAST:g} to {MOST:g}")
RATIOS = _each(lambda v: LEAST <= v <= 10, f"a number from {LEAST:g} to 10")


def _or(words: tuple[str, ...]) -> str:
    return ", ".join(words[:-1]) + " or " + words[-1]


def _inside() -> Any:
    return _limited((lambda v: -4 < v < 4, "a number in (-4, 4)"))


def _from(low: float, high: float) -> Any:
    return _limited((lambda v: low <= v <= high, f"a number from {low:g} to {high:g}"))


def _zero_or_more() -> Any:
    return _limited((lambda v: v == 0 or LEAST <= v <= MOST, f"0, or a number from {LEAST:g} to {MOST:g}"))


@dataclass
class PDEConf:
    output_dir: str = _limited((lambda v: v.strip() != "", "the path of a folder"))


@dataclass
class SmoothConf(PDEConf):
    problem: str = _choice(*PROBLEMS)
    dimension: int = _whole(1, 2)
    time: list[float] = field(default_factory=list, metadata=TIMES)
    temperature: float = _zero_or_more()
    points: int | None = _whole(16, 20000)


@dataclass
class WidenConf(PDEConf):
    sharp_curvature: float = _from(LEAST, 1e4)
    wide_curvature: float = _from(LEAST, 1e4)
    gap: float = _from(LEAST, 10)
    temperature: float = _from(LEAST, 10)
    longest: float = _from(LEAST, 10)
    count: int = _whole(2, 500)


@dataclass
class ControlConf(PDEConf):
    problem: str = _choice(*PROBLEMS)
    temperature: float = _from(LEAST, 1e4)
    horizon: float = _from(LEAST, 100)
    start: float = _inside()
    paths: int = _whole(100, 10**7)
    steps: int = _whole(2, 20000)
    seed: int = _whole(0)


@dataclass
class HomogenizeConf(PDEConf):
    problem: str = _choice(*PROBLEMS)
    gamma: float = _from(LEAST, 100)
    temperature: float = _from(LEAST, 1e4)
    epsilon: list[float] = field(default_factory=list, metadata=RATIOS)
    start: float = _inside()
    horizon: float = _from(LEAST, 100)
    paths: int = _whole(10, 10**6)
    fast_step: float = _from(LEAST, 10)
    seed: int = _whole(0)


@dataclass
class DescendConf(PDEConf):
    optimizers: list[str] = field(default_factory=list, metadata=_each(lambda v: v in OPTIMIZERS, _or(OPTIMIZERS)))
    problem: str = _choice(*PROBLEMS)
    dimension: int = _whole(1, 2)
    gamma: float = _from(LEAST, 1e4)
    hj_gamma: float = _from(LEAST, 1e4)
    temperature: float = _from(LEAST, 1e4)
    inner_steps: int = _whole(1, 10**5)
    starts: int = _whole(2, 10**5)
    gradient_evaluations: int = _whole(1, 10**7)
    gradient_noise: float = _from(0, 1e4)
    basin_width: float = _from(LEAST, 1)
    seed: int = _whole(0)


@dataclass
class ConvergeConf(PDEConf):
    pass


@dataclass
class DirectionsConf(PDEConf):
    chains: int = _whole(10, 10**6)
    seed: int = _whole(0)


@dataclass
class VerifyConf(PDEConf):
    claims: list[int] = field(default_factory=list, metadata=_each(lambda v: v in CLAIMS, "an integer from 1 to 6"))
    seed: int = _whole(0)
    paths: int = _whole(100, 10**7)
    chains: int = _whole(200, 10**6)  # fewer do not know their own standard error


SCHEMAS: dict[str, type[PDEConf]] = {
    "smooth": SmoothConf,
    "widen": WidenConf,
    "control": ControlConf,
    "homogenize": HomogenizeConf,
    "descend": DescendConf,
    "converge": ConvergeConf,
    "directions": DirectionsConf,
    "verify": VerifyConf,
}


def list_keys(command: str) -> set[str]:
    """The keys of a command whose value is a list."""
    return {name for name, described in SCHEMAS[command].__dataclass_fields__.items() if "list[" in str(described.type)}


def register() -> None:
    """Make the schemas known to Hydra as `schema/pde/<command>`."""
    for name, schema in SCHEMAS.items():
        ConfigStore.instance().store(group="schema/pde", name=name, node=schema, package="_global_")
