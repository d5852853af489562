"""Errors whose message alone is shown: the user can mend them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """One clear sentence: key or file, value, what is allowed, what to do. The command line exits with status 1."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """', did you mean ...?' with the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""
