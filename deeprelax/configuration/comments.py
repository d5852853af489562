"""Read what the files in configs/ say of themselves and of their keys: the comments are the text of --help."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from .messages import offered

KEY = re.compile(r"( *)(\w+):(?:.*?\s# ?(.*)|.*)")
NO_CHOICES = ("hydra", "pde", "preset", "schema")  # folders of configs/ from which nothing is chosen by GROUP=CHOICE


@dataclass
class Comments:
    """What a YAML file says at its head, and of each key: behind it, in lines that continue, or in a block above it."""

    head: str = ""
    keys: dict[str, str] = field(default_factory=dict)


def read(file: Path) -> Comments:
    """The comments of a file."""
    head, block = list[str](), list[str]()
    found, path = dict[str, str](), list[str]()
    for line in file.read_text(encoding="utf-8").splitlines():
        bare = line.strip()
        said = bare.removeprefix("#").strip()
        if bare.startswith("#") and not found:
            head += [said] * (not said.startswith("@package"))
        elif bare.startswith("#") and line.startswith(" "):
            found[".".join(path)] += f" {said}"
        elif bare.startswith("#"):
            block.append(said)
        elif match := KEY.fullmatch(line):
            path = [*path[: len(match[1]) // 2], match[2]]
            found[".".join(path)] = " ".join([*block, match[3] or ""]).strip()
            block = []
        elif not bare:
            block = []
    return Comments(" ".join(head), found)


class Choices:
    """The files of the choices, GROUP/CHOICE.yaml, in some folders; of one that is in two the first counts."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders

    def has(self, group: str) -> bool:
        """Is it a group?"""
        return bool(group) and any((folder / group).is_dir() for folder in self.folders)

    def groups(self) -> list[str]:
        """What can be chosen from."""
        folders = [each for folder in self.folders for each in folder.iterdir() if any(each.glob("*.yaml"))]
        return sorted({each.name for each in folders} - set(NO_CHOICES))

    def of(self, group: str) -> list[str]:
        """What a group can be."""
        return sorted(offered({file.stem for folder in self.folders for file in (folder / group).glob("*.yaml")}))

    def comments(self, path: str) -> Comments:
        """Of GROUP/CHOICE: its own, and of keys of which it says nothing those of the choices that it includes."""
        files = (folder / f"{path}.yaml" for folder in self.folders)
        file = next((each for each in files if each.is_file()), None)
        if file is None:
            return Comments()
        own = read(file)
        for base in (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("defaults", []):
            if isinstance(base, str) and base != "_self_" and "schema/" not in base:
                included = base.lstrip("/") if "/" in base else f"{path.rpartition('/')[0]}/{base}"
                own.keys = self.comments(included).keys | {key: said for key, said in own.keys.items() if said}
        return own
