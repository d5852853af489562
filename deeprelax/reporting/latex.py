"""Format a comparison for LaTeX: the tables of the terminal with booktabs' rules, everything escaped."""

from __future__ import annotations

import re

from . import text
from .rows import Comparison

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$",
}  # fmt: skip


def latex(comparison: Comparison) -> str:
    """The content of table.tex: for \\input in a document with \\usepackage{booktabs}; notes are comments."""
    lines = ["% \\usepackage{booktabs}"]
    for block in text.blocks(comparison):
        head, *rows = block.rows
        lines += ["\\begin{table}", "  \\centering", f"  \\caption{{{escaped(block.heading)}}}"]
        lines += [f"  \\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", "    \\toprule"]
        lines += [f"    {_line(head)}", "    \\midrule", *(f"    {_line(row)}" for row in rows)]
        lines += ["    \\bottomrule", "  \\end{tabular}", "\\end{table}"]
        lines += [f"% {note}" for note in block.notes]
    lines += [f"% {note}" for note in comparison.notes]
    return "\n".join(lines) + "\n"


def escaped(cell: str) -> str:
    """The text as LaTeX prints it. A number with a sign stands in mathematics, where - is a minus."""
    found = "".join(SPECIAL.get(character, character) for character in cell)
    return r"$\infty$" if found == "inf" else re.sub(r"(?<![\w.])[+-]\d[\d.]*(?:e[+-]?\d+)?", r"$\g<0>$", found)


def _line(cells: list[str]) -> str:
    return " & ".join(map(escaped, cells)) + r" \\"
