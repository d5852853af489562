"""Read the arguments of the commands that are no Hydra applications."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from ..errors import UserError


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UserError instead of printing its usage and exiting."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}: see {self.prog} --help")
