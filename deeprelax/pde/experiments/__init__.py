"""One experiment for each `deeprelax pde COMMAND`, in files that begin with its name.

<command>.py has its settings, a dataclass named as the command, from which Hydra takes keys, types and ranges, and its
entry, `run`. Claims lie beside it; so do measurements and figure where they are long. Nothing that `run` imports may
import <command>.py: settings that the measurements take whole are declared with them, and handed on. Values of the keys
stand in configs/pde/.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..settings import Settings

# command: one line for the help. The only list of the commands; their modules and YAML files have their names
COMMANDS = {
    "smooth": "a function under the heat, viscous and inviscid Hamilton-Jacobi equations",
    "widen": "a sharp deep and a wide shallow minimum: curvature, width, and which of them wins",
    "control": "SGD as a diffusion, and controlled by the value function: expected loss and the paper's bound",
    "homogenize": "the two-scale diffusion beside the gradient flow of local entropy, and the rate",
    "descend": "paths of the optimizers from the same starts, and who reaches the global basin",
    "converge": "errors of the solvers as the grid is refined",
    "directions": "mean directions of the optimizers beside the solvers' gradients",
    "hamiltonian": "a trained network with depth as time: p.f, momenta and p.dx from layer to layer",
    "verify": "every claim of the paper, measured: a line each; exit status 1 if one fails",
}


def module(command: str) -> ModuleType:
    """The module of a command, imported now: scipy and matplotlib take a second."""
    return importlib.import_module(f".{command}", __name__)


def settings(command: str) -> type[Settings]:
    """The dataclass of a command's keys."""
    found: type[Settings] = getattr(module(command), command.capitalize())
    return found
