"""The schema of `deeprelax pde COMMAND`: types and ranges. Values and what they mean stand in configs/pde/."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from .ranges import any_of, between, choice, each, limited, whole

PROBLEMS = ("rough", "double_well", "two_wells", "rastrigin", "cosine", "absolute", "quadratic", "ellipse")
CLAIMS = (1, 2, 3, 4, 5, 6)
OPTIMIZERS = ("sgd", "entropy_sgd", "hj", "hj_proximal", "heat")


# beyond these numbers the exponentials of the solvers leave the range of doubles
LEAST, MOST = 1e-6, 1e6
TIMES = each(lambda v: LEAST <= v <= MOST, f"a number from {LEAST:g} to {MOST:g}")
RATIOS = each(lambda v: LEAST <= v <= 10, f"a number from {LEAST:g} to 10")


def _inside() -> Any:
    return limited(lambda v: -4 < v < 4, "a number in (-4, 4)")


def _zero_or_more() -> Any:
    return limited(lambda v: v == 0 or LEAST <= v <= MOST, f"0, or a number from {LEAST:g} to {MOST:g}")


@dataclass
class PDEConf:
    output_dir: str = limited(lambda v: v.strip() != "", "the path of a folder")


@dataclass
class SmoothConf(PDEConf):
    problem: str = choice(*PROBLEMS)
    dimension: int = whole(1, 2)
    time: list[float] = TIMES
    temperature: float = _zero_or_more()
    points: int | None = whole(16, 20000)


@dataclass
class WidenConf(PDEConf):
    sharp_curvature: float = between(LEAST, 1e4)
    wide_curvature: float = between(LEAST, 1e4)
    gap: float = between(LEAST, 10)
    temperature: float = between(LEAST, 10)
    longest: float = between(LEAST, 10)
    count: int = whole(2, 500)


@dataclass
class ControlConf(PDEConf):
    problem: str = choice(*PROBLEMS)
    temperature: float = between(LEAST, 1e4)
    horizon: float = between(LEAST, 100)
    start: float = _inside()
    paths: int = whole(100, 10**7)
    steps: int = whole(2, 20000)
    seed: int = whole(0)


@dataclass
class HomogenizeConf(PDEConf):
    problem: str = choice(*PROBLEMS)
    gamma: float = between(LEAST, 100)
    temperature: float = between(LEAST, 1e4)
    epsilon: list[float] = RATIOS
    start: float = _inside()
    horizon: float = between(LEAST, 100)
    paths: int = whole(10, 10**6)
    fast_step: float = between(LEAST, 10)
    seed: int = whole(0)


@dataclass
class DescendConf(PDEConf):
    optimizers: list[str] = each(lambda v: v in OPTIMIZERS, any_of(OPTIMIZERS))
    problem: str = choice(*PROBLEMS)
    dimension: int = whole(1, 2)
    gamma: float = between(LEAST, 1e4)
    hj_gamma: float = between(LEAST, 1e4)
    temperature: float = between(LEAST, 1e4)
    inner_steps: int = whole(1, 10**5)
    starts: int = whole(2, 10**5)
    gradient_evaluations: int = whole(1, 10**7)
    gradient_noise: float = between(0, 1e4)
    basin_width: float = between(LEAST, 1)
    seed: int = whole(0)


@dataclass
class ConvergeConf(PDEConf):
    pass


@dataclass
class DirectionsConf(PDEConf):
    chains: int = whole(10, 10**6)
    seed: int = whole(0)


@dataclass
class VerifyConf(PDEConf):
    claims: list[int] = each(lambda v: v in CLAIMS, "an integer from 1 to 6")
    seed: int = whole(0)
    paths: int = whole(100, 10**7)
    chains: int = whole(200, 10**6)  # fewer do not know their own standard error


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
