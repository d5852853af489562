"""Test that constructor, YAML and row of ranges of a hyper-parameter agree, and that nothing else declares it."""

from __future__ import annotations

import ast
import inspect
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

import deeprelax as package
from deeprelax import models, optim, tasks
from deeprelax.configuration.registry import call, resolve
from deeprelax.configuration.schema import BASES, SCHEMAS, configuration_folder
from deeprelax.errors import UserError
from deeprelax.optim.hyperparameters import RANGES

Command = Callable[..., tuple[int, str, str]]
ROOMS = {"optimizer": optim, "model": models, "task": tasks}
SHIPPED = [(kind, name) for kind, room in ROOMS.items() for name in room.CHOICES]
POSITIONAL = {"params", "channels", "image_size", "classes", "inputs", "outputs", "vocabulary", "setting"}
# keywords of constructors that are no keys of the command line: of every choice, and of one
NO_KEYS = {
    "": {"closure_calls"},  # the runner has closures of its own
    # solver is the choice, hj or hj_proximal; the others are of the other solver
    "hj": {"solver", "inner_lr", "inner_momentum", "inner", "inner_betas", "inner_eps", "inner_state"},
    "hj_proximal": {"solver", "averaging"},
    "factor": {"size"},  # of the task, as inputs and outputs are
}
OTHER_DEFAULT = {"seed"}  # follows the run's on the command line


def in_yaml(kind: str, name: str) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(configuration_folder() / kind / f"{name}.yaml"), resolve=False)
    return {key: value for key, value in content.items() if key not in ("defaults", "name", "options")}


def in_constructor(kind: str, name: str) -> dict[str, Any]:
    """The keyword arguments with their defaults; None as it is where the YAML has null, else what it stands for."""
    make, (_, fixed) = resolve(kind, name), ROOMS[kind].CHOICES[name]
    found = {key: p.default for key, p in inspect.signature(make).parameters.items() if key not in POSITIONAL}
    unset = {key for key, value in found.items() if value is None and in_yaml(kind, name).get(key, "") is not None}
    if unset:
        built = make([torch.nn.Parameter(torch.ones(1))], **fixed).defaults
        found |= {key: built[key] for key in unset}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_the_command_line_and_the_library_have_the_same_keys_and_defaults(kind: str, name: str) -> None:
    yaml, constructor = in_yaml(kind, name), in_constructor(kind, name)
    assert yaml.keys() == constructor.keys() - NO_KEYS[""] - NO_KEYS.get(name, set())
    for key in yaml.keys() - OTHER_DEFAULT:
        assert (type(yaml[key]), yaml[key]) == (type(constructor[key]), constructor[key]), key
    assert NO_KEYS.get(name, set()) <= constructor.keys()


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_a_schema_has_the_keys_of_its_yaml_in_their_order_and_can_be_pickled(kind: str, name: str) -> None:
    schema = SCHEMAS[kind][name]
    assert list(schema.__dataclass_fields__) == [*BASES[kind].__dataclass_fields__, *in_yaml(kind, name)]
    values = schema(name=name, **dict.fromkeys(in_yaml(kind, name), 1))
    assert pickle.loads(pickle.dumps(values)) == values


def test_a_choice_of_ones_own_that_extends_a_shipped_one_has_its_schema(deeprelax: Command, tmp_path: Path) -> None:
    for kind, base, key in [("optimizer", "entropy_sgd", "inner_steps"), ("model", "wrn", "depth")]:
        (tmp_path / "mine" / kind).mkdir(parents=True)
        (tmp_path / "mine" / kind / "mine.yaml").write_text(f"defaults:\n  - {base}\n  - _self_\n{key}: 22\n")
        own = ["train", "--config-dir", str(tmp_path / "mine"), f"{kind}=mine"]
        status, out, _ = deeprelax(*own, "--cfg", "job")
        assert status == 0
        assert f"{key}: 22" in out
        assert deeprelax(*own, f"{kind}.{key}=2.5")[2].startswith(f"deeprelax: {kind}.{key}: value '2.5' of type ")
        assert deeprelax(*own, f"{kind}.{key}=0")[2].startswith(f"deeprelax: {kind}.{key}=0 is out of range")


def declared(file: Path) -> Iterator[str]:
    """The names of the fields, parameters and dictionary keys in a file of Python."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.ClassDef():
                yield from (s.target.id for s in node.body if isinstance(s, ast.AnnAssign) and hasattr(s.target, "id"))
            case ast.FunctionDef(args=arguments) | ast.Lambda(args=arguments):
                yield from (a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs])
            case ast.Dict():
                yield from (k.value for k in node.keys if isinstance(k, ast.Constant) and isinstance(k.value, str))


def test_entropy_sgd_is_declared_three_times_and_no_more() -> None:
    keys = set(in_constructor("optimizer", "entropy_sgd")) - NO_KEYS[""]
    assert keys == set(in_yaml("optimizer", "entropy_sgd")) == keys & set(RANGES)
    folder = Path(package.__file__).parent
    # the laboratory, the equations, measures and yardsticks have settings of their own, by the same letters
    apart = {"optim", "pde", "bench", "equations", "flatness", "flatness.py"}
    apart |= {"tokens", "sample.py"}  # a text is drawn from a softmax at a temperature
    others = [f for f in folder.rglob("*.py") if not apart & set(f.relative_to(folder).parts)]
    again = {(str(file.relative_to(folder)), name) for file in others for name in declared(file)}
    assert {(file, name) for file, name in again if name in keys - {"seed"}} == set()


def test_the_test_above_notices_a_field_a_parameter_and_a_key(tmp_path: Path) -> None:
    file = tmp_path / "again.py"
    file.write_text("class Conf:\n    gamma: float = 1.0\ndef f(lr, *, averaging=0): pass\nDEFAULTS = {'scoping': 0}\n")
    assert set(declared(file)) == {"gamma", "lr", "averaging", "scoping"}


def test_a_choice_fixes_its_solver(deeprelax: Command) -> None:
    """`optimizer=hj optimizer.solver=proximal` would train with the values of the other solver."""
    for choice, key in [("hj", "solver=proximal"), ("hj", "inner_lr=0.2"), ("hj_proximal", "averaging=0.5")]:
        status, _, err = deeprelax("train", f"optimizer={choice}", f"optimizer.{key}")
        assert status == 1
        assert err.startswith(f"deeprelax: optimizer.{key.partition('=')[0]} is not a key")
    status, _, err = deeprelax("train", "optimizer=hj", "optimizer.name=hj_proximal")
    assert err.endswith("does not go with the keys of the choice made: write optimizer=hj_proximal\n")
    params = [torch.nn.Parameter(torch.ones(1))]
    with pytest.raises(UserError, match=r"optimizer\.options: hj does not take solver, which is fixed_point there"):
        call("optimizer", "hj", params, solver="proximal")
    assert call("optimizer", "hj", params).defaults["solver"] == "fixed_point"
