"""`deeprelax pde COMMAND`: a Hydra application; figures, arrays and claims of the partial differential equations."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from .. import files, pde_schema
from ..configuration import hydra_app
from ..configuration.check import validated
from ..errors import UserError, did_you_mean

if TYPE_CHECKING:
    from ..pde.outcome import Outcome

COMMANDS = {
    "smooth": "a function under the heat, viscous and inviscid Hamilton-Jacobi equations",
    "widen": "a sharp deep and a wide shallow minimum: curvature, width, and which of them wins",
    "control": "SGD as a diffusion, and controlled by the value function: expected loss and the paper's bound",
    "homogenize": "the two-scale diffusion beside the gradient flow of local entropy, and the rate",
    "descend": "paths of the optimizers from the same starts, and who reaches the global basin",
    "converge": "errors of the solvers as the grid is refined",
    "directions": "mean directions of the optimizers beside the solvers' gradients",
    "verify": "every claim of the paper, measured: a line each; exit status 1 if one fails",
}
USAGE = "\n".join(
    [
        "Solve the equations behind the optimizers; figures and arrays go to outputs/pde/COMMAND/.",
        "",
        "Usage: deeprelax pde COMMAND [KEY=VALUE ...]",
        "",
        *(f"  {name:<11} {summary}" for name, summary in COMMANDS.items()),
        "",
        "deeprelax pde COMMAND --help shows the keys. For example: deeprelax pde smooth problem=double_well time=0.1,1",
    ]
)

pde_schema.register()


def main(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE)
        return
    command, *rest = arguments
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # it tells of a cache made at the first run
    if command not in COMMANDS:
        raise UserError(
            f"pde {command} is not a command{did_you_mean(command, COMMANDS)}: one of {', '.join(COMMANDS)}"
        )
    sweep = bool({"-m", "--multirun"} & set(rest))
    words = [as_list(command, word, sweep) for word in rest]
    first = next((i for i, word in enumerate(words) if "=" in word and not word.startswith("-")), len(words))
    words.insert(first, f"pde={command}")  # beside the other overrides: argparse wants them in one piece
    hydra_app.run("pde", job, words)


def as_list(command: str, word: str, sweep: bool) -> str:
    """time=0.1,0.2 as time=[0.1,0.2] for the keys that hold lists; with -m as time=[0.1],[0.2], one job each."""
    key, equals, value = word.partition("=")
    if key == "optimizer":  # a group of the training's choices has that name
        key, word = "optimizers", f"optimizers={value}"
    if not equals or key not in pde_schema.list_keys(command) or re.search(r"[\[\](){}$'\"]", value):
        return word
    return f"{key}=" + (",".join(f"[{one}]" for one in value.split(",")) if sweep else f"[{value}]")


def job(config: DictConfig) -> None:
    """One command. Writes its files into Hydra's run directory, outputs/pde/COMMAND."""
    conf = validated(config)
    command = str(HydraConfig.get().runtime.choices["pde"])
    directory = Path(HydraConfig.get().runtime.output_dir)
    if command == "verify":
        verify(conf, directory)
    else:
        write(JOBS[command](conf), directory, json.dumps(OmegaConf.to_container(config)))


def verify(conf: Any, directory: Path) -> None:
    """Print a line for each claim, write verify.json. Raises UserError if one fails."""
    from ..pde.claims import HEADER
    from ..pde.experiments.verify import Samples, verified

    print(HEADER)
    records, failed = [], 0
    for _, _, found in verified(list(dict.fromkeys(conf.claims)), Samples(conf.seed, conf.paths, conf.chains)):
        print("\n".join(claim.line() for claim in found), flush=True)
        records += [claim.record() for claim in found]
        failed += sum(not claim.holds for claim in found)
    about = {"seed": conf.seed, "paths": conf.paths, "chains": conf.chains}
    files.write_json(directory / "verify.json", {**about, "all_hold": not failed, "claims": records})
    print(f"{len(records) - failed} of {len(records)} hold; wrote {directory / 'verify.json'}")
    if failed:
        raise UserError(f"{failed} of {len(records)} claims fail: see the lines with FAILS")


def write(outcome: Outcome, directory: Path, configuration: str) -> None:
    """NAME.png, NAME.pdf and NAME.npz, each whole or not there; says what was found, and where the files are."""
    stem = directory / outcome.name
    for kind in ("png", "pdf"):
        _replace(Path(f"{stem}.{kind}"), outcome.rendered(kind))
    packed = io.BytesIO()
    np.savez_compressed(packed, configuration=configuration, **outcome.arrays)
    _replace(Path(f"{stem}.npz"), packed.getvalue())
    print("\n".join([*outcome.lines, f"wrote {stem}.png, .pdf and .npz"]))


def _replace(path: Path, content: bytes) -> None:
    def write_all(file: IO[bytes]) -> None:
        file.write(content)

    files.replace(path, write_all)


def _smooth(conf: Any) -> Outcome:
    from ..pde.experiments.smooth import POINTS, smooth
    from ..pde.problems.rough import PROBLEMS

    return smooth(
        PROBLEMS[conf.problem](conf.dimension), conf.time, conf.temperature, conf.points or POINTS[conf.dimension]
    )


def _widen(conf: Any) -> Outcome:
    from ..pde.experiments.widen import widen
    from ..pde.problems.wells import Wells

    if conf.sharp_curvature <= conf.wide_curvature:
        raise UserError(
            f"sharp_curvature={conf.sharp_curvature:g} must be above wide_curvature={conf.wide_curvature:g}: raise it"
        )
    wells = Wells((conf.sharp_curvature, conf.wide_curvature), (0.0, conf.gap), softness=conf.temperature)
    return widen(wells, conf.longest, conf.count)


def _control(conf: Any) -> Outcome:
    from ..pde.experiments.control import Setting
    from ..pde.experiments.control_figure import control
    from ..pde.problems.rough import PROBLEMS

    problem = PROBLEMS[conf.problem](1)
    return control(Setting(problem, conf.temperature, conf.horizon, conf.start, conf.paths, conf.steps, seed=conf.seed))


def _homogenize(conf: Any) -> Outcome:
    from ..pde.experiments.homogenize import TwoScales
    from ..pde.experiments.homogenize_figure import homogenize
    from ..pde.problems.rough import PROBLEMS

    system = TwoScales(PROBLEMS[conf.problem](1), conf.gamma, conf.temperature, conf.start, conf.horizon)
    return homogenize(system, list(dict.fromkeys(conf.epsilon)), conf.paths, conf.seed, conf.fast_step)


def _descend(conf: Any) -> Outcome:
    from ..pde.experiments.descend import Descent, presets
    from ..pde.experiments.descend_figure import descend
    from ..pde.problems.rough import PROBLEMS

    keywords = presets(conf.gamma, conf.hj_gamma, conf.temperature, conf.inner_steps, conf.seed)
    descent = Descent(
        PROBLEMS[conf.problem](conf.dimension),
        conf.starts,
        conf.gradient_evaluations,
        conf.gradient_noise,
        conf.seed,
        conf.basin_width,
        keywords,
    )
    return descend(descent, list(dict.fromkeys(conf.optimizers)), conf.temperature)


def _converge(_: Any) -> Outcome:
    from ..pde.experiments.converge import figure

    return figure()


def _directions(conf: Any) -> Outcome:
    from ..pde.experiments.directions_figure import figure
    from ..pde.experiments.verify import Samples

    return figure(Samples(conf.seed, chains=conf.chains))


JOBS: dict[str, Callable[[Any], Outcome]] = {
    "smooth": _smooth,
    "widen": _widen,
    "control": _control,
    "homogenize": _homogenize,
    "descend": _descend,
    "converge": _converge,
    "directions": _directions,
}
