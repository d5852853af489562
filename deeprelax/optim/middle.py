"""An outer step of calls without a closure that is saved in the middle, and resumes there, bit for bit.

A state dict then holds, beside what it always holds, for each parameter of the step "step_" and the name of every
scratch tensor (x and d among them) and the weights y, and for each group under "step" how far the step is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .shards import plain
from .state import INNER
from .step import Relaxed, Step

MARK = "step_"
COUNT = f"{MARK}{INNER}step"  # the chain's step count as it was when the step began


@torch.no_grad()
def add(found: dict[str, Any], optimizer: Relaxed) -> dict[str, Any]:
    """The state dict with the step that is under way."""
    step, state = optimizer.under_way, dict(found["state"])
    assert step is not None
    keys = _keys(found, optimizer)
    names = [name for name in optimizer.workspace.held if name != "y"]
    for block in step.blocks:
        ys = optimizer.scratch("y", block.y) if optimizer.swapped else block.y
        for p, y, number in zip(block.params, ys, block.y, strict=True):
            scratch = {MARK + name: optimizer.scratch(name, [number])[0].clone() for name in names}
            state[keys[p]] = {**state.get(keys[p], {}), **scratch, f"{MARK}y": y.clone()}
            state[keys[p]] |= dict(_count(optimizer, p))
    groups = []
    for group, block in zip(found["param_groups"], step.blocks, strict=True):
        settings = {key: value for key, value in block.group.items() if key != "params"}
        single = {name: t.clone() for name, t in optimizer.workspace.single.items()}
        how_far = {"taken": step.taken, "draws": optimizer.draws(), "settings": settings, "single": single}
        groups.append({**group, "step": how_far})
    return {**found, "state": state, "param_groups": groups}


def apart(state_dict: Mapping[str, Any]) -> tuple[dict[str, Any], dict[Any, dict[str, Any]], list[dict[str, Any]]]:
    """The state dict without a step, what the step has of each parameter, and of each group; [] if there is none."""
    steps = [group["step"] for group in state_dict["param_groups"] if "step" in group]
    groups = [{key: value for key, value in group.items() if key != "step"} for group in state_dict["param_groups"]]
    tensors, rest = {}, {}
    for key, values in state_dict["state"].items():
        tensors[key] = {name: t for name, t in values.items() if name.startswith(MARK)}
        rest[key] = {name: t for name, t in values.items() if not name.startswith(MARK)}
    kept = {key: values for key, values in rest.items() if values}
    return {**state_dict, "state": kept, "param_groups": groups}, tensors, steps


@torch.no_grad()
def resume(
    optimizer: Relaxed, state_dict: Mapping[str, Any], tensors: Mapping[Any, Mapping[str, Any]],
    steps: list[dict[str, Any]],
) -> None:  # fmt: skip
    """Put the step under way again; the weights become y."""
    keys = _keys(state_dict, optimizer)
    step = Step(optimizer)
    for i, (block, found) in enumerate(zip(step.blocks, steps, strict=True)):
        part = [j for j, p in enumerate(block.params) if tensors.get(keys[p])]
        params, y, x, d = ([each[j] for j in part] for each in (block.params, block.y, block.x, block.d))
        step.blocks[i] = type(block)(found["settings"], params, y, x, d, found["settings"]["lr"], block.plain)
        for p, number in zip(params, y, strict=True):
            for name, tensor in tensors[keys[p]].items():
                if name not in (f"{MARK}y", COUNT):
                    optimizer.scratch(name.removeprefix(MARK), [number])[0].copy_(tensor)
            number.copy_(tensors[keys[p]][f"{MARK}y"])
        _resume_rewind(optimizer, step.blocks[i], [tensors[keys[p]] for p in params])
    device = next((y.device for block in step.blocks for y in block.y), torch.device("cpu"))
    for name, number in steps[0].get("single", {}).items():
        optimizer.workspace.number(name, device).copy_(number)
    step.taken = steps[0]["taken"]
    optimizer.under_way = step
    optimizer.turn(step.taken)
    if steps[0]["draws"]:
        noise, like = optimizer.noise(0), optimizer.workspace.alike()
        for _ in range(steps[0]["draws"]):  # draw i belongs to gradient i: those that were used are dropped
            noise.fill(like)


def _resume_rewind(optimizer: Relaxed, block: Any, tensors: list[Mapping[str, Any]]) -> None:
    """What is put back if the step fails is what it was when the step began."""
    for p, number, found in zip(block.params, block.y, tensors, strict=True):
        for name, now in optimizer.state[p].items():
            if name == INNER + "step":
                optimizer.rewind.resume([now], [found[COUNT].to(now.device, copy=True)])
            elif name.startswith(INNER):
                then = optimizer.scratch(f"{name.removeprefix(INNER)} before", [number])
                optimizer.rewind.resume([plain(now)], then)


def _keys(state_dict: Mapping[str, Any], optimizer: Relaxed) -> dict[torch.Tensor, Any]:
    params = [p for group in optimizer.param_groups for p in group["params"]]
    keys = [key for group in state_dict["param_groups"] for key in group["params"]]
    return dict(zip(params, keys, strict=True))


def _count(optimizer: Relaxed, p: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    count = optimizer.state.get(p, {}).get(INNER + "step")
    return [(COUNT, then.clone()) for now, then in optimizer.rewind.pairs() if now is count]
