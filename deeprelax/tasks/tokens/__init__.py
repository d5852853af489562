"""A language model of characters: which one comes next?

grammar.py    the shipped text, sums and brackets, whose entropy is known
corpus.py     a text, the user's or that one, as integers and in parts
sampling.py   text that a network writes
task.py       the loss, its windows, scores
"""

from __future__ import annotations

from .task import Tokens as Tokens
