"""Run `deeprelax tasks`: list what can be learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .. import tasks
from ..configuration.registry import resolve
from ..configuration.schema import configuration_folder
from ..errors import UserError, did_you_mean
from ..tables import aligned

USAGE = """List the tasks: what can be learned.

Usage: deeprelax tasks [NAME]
  Without a name: each with the network it takes by default, its scores (runs are compared by the first) and its
  experiments. With one: what the task says of itself. `deeprelax train task=NAME` trains it."""


def main(arguments: list[str]) -> None:
    """Print the list, or the description of one task. Raises UserError."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return
    if len(arguments) > 1:
        raise UserError(f"tasks takes one name, not {len(arguments)}: give one of {', '.join(tasks.CHOICES)}")
    for name in arguments:
        if name not in tasks.CHOICES:
            raise UserError(
                f"{name} is not a task{did_you_mean(name, tasks.CHOICES)}: one of {', '.join(tasks.CHOICES)}"
            )
        print(described(name))
        return
    print(listing())


def listing() -> str:
    """A line for each task: its name, its network, its scores, its experiments."""
    folder, by_task = configuration_folder(), _experiments()
    rows = [("task", "network", "scores", "experiments")]
    for name in tasks.CHOICES:
        network = _chosen(_defaults(folder / "task" / f"{name}.yaml"), "model") or "lenet"
        scores: Any = getattr(resolve("task", name), "metrics", {})
        rows.append((name, network, ", ".join(scores), ", ".join(by_task.get(name, []))))
    rows.append(("custom", "your own", "your own", "task.name=package.module:Name"))
    return "\n".join(aligned(rows, "<" * len(rows[0])))


def described(name: str) -> str:
    """The comments that its file of keys begins with, the keys, and what the class itself lists."""
    file = configuration_folder() / "task" / f"{name}.yaml"
    lines = file.read_text(encoding="utf-8").splitlines()
    head = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    keys = [line for line in lines if line[:1].isalpha() and not line.startswith(("defaults", "options", "name"))]
    more: list[str] = getattr(resolve("task", name), "listing", list)()
    return "\n".join(
        [*head, "", *(f"  task.{line}" for line in keys), *([""] if more else []), *(f"  {line}" for line in more)]
    )


def _experiments() -> dict[str, list[str]]:
    """Task to the names of its experiments."""
    found: dict[str, list[str]] = {}
    for file in sorted((configuration_folder() / "experiment").glob("*.yaml")):
        task = _chosen(_defaults(file), "task") or "classification"
        found.setdefault(task, []).append(file.stem)
    return found


def _defaults(file: Path) -> list[Any]:
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    found: list[Any] = content.get("defaults", [])
    return found


def _chosen(defaults: list[Any], group: str) -> str | None:
    """What a defaults list has the group be; None if it says nothing of it."""
    for entry in defaults:
        for key, value in entry.items() if isinstance(entry, dict) else ():
            if key.removeprefix("override ").removeprefix("/").partition("@")[0] == group:
                return str(value)
    return None
