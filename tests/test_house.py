"""The house keeps its order: which room may import which, how long files and functions may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "deeprelax"
FILES = sorted(PACKAGE.rglob("*.py"))
CORE = ("optim", "models", "data", "tasks", "training")  # what a reader reads first; see CONTRIBUTING.md
ABOVE = {"configuration", "commands", "runs", "parallel", "reporting"}


def name_of(file: Path) -> str:
    """deeprelax/optim/sgd.py to deeprelax.optim.sgd."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> Iterator[str]:
    """Every module of this package that the file imports, wherever in it."""
    package = name_of(file) if file.name == "__init__.py" else name_of(file).rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "deeprelax")
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *(node.module.split(".") if node.module else [])])
            if module.split(".")[0] == "deeprelax":
                yield from (f"{module}.{alias.name}" for alias in node.names)


def room(module: str) -> str:
    """deeprelax.optim.sgd to optim; a file of the ground floor to its own name."""
    return module.split(".")[1]


def test_the_reader_of_imports_sees_them() -> None:
    """Else the tests below could not fail."""
    assert {room(module) for module in imports(PACKAGE / "runs" / "train.py")} >= {"training", "records", "parallel"}
    assert "deeprelax.optim.relaxation.Relaxation" in set(imports(PACKAGE / "optim" / "sgd.py"))


def test_optimizers_and_networks_know_torch_only() -> None:
    found = {(name_of(file), module) for file in FILES for module in imports(file)}
    for own in ("optim", "models"):
        assert {pair for pair in found if room(f"{pair[0]}.") == own and room(pair[1]) != own} == set()


def test_the_core_knows_nothing_of_what_stands_on_it() -> None:
    found = {(name_of(file), module) for file in FILES for module in imports(file)}
    assert {pair for pair in found if room(f"{pair[0]}.") in CORE and room(pair[1]) in ABOVE} == set()


def test_the_laboratory_knows_nothing_of_the_runner() -> None:
    below = {"errors", "files", "ranges", "optim", "pde", "reporting"}
    found = {(name_of(file), module) for file in PACKAGE.glob("pde/**/*.py") for module in imports(file)}
    assert {pair for pair in found if room(pair[1]) not in below} == set()


def test_measures_of_flatness_know_nothing_of_runs() -> None:
    below = {"errors", "randomness", "optim", "models", "data", "tasks", "reporting", "flatness"}
    found = {(name_of(file), module) for file in PACKAGE.glob("flatness/*.py") for module in imports(file)}
    assert {pair for pair in found if room(pair[1]) not in below} == set()
    assert {room(module) for _, module in found} >= {"randomness", "flatness"}


MODULES = {name_of(file) for file in FILES}


def module_of(name: str) -> str:
    """deeprelax.optim.sgd.SGD to deeprelax.optim.sgd; a name of a package to the package, unless it is a module."""
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """The modules of a circle of imports, the first once more at the end; none if there is no circle."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert sorted(circle({"a": {"b"}, "b": {"c"}, "c": {"d", "b"}, "d": set()})[1:]) == ["b", "c"]  # it finds them
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert module_of("deeprelax.optim.sgd.SGD") == "deeprelax.optim.sgd"
    assert module_of("deeprelax.optim.SGD") == "deeprelax.optim"
    assert circle({name_of(file): {module_of(name) for name in imports(file)} for file in FILES}) == []


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function from its `def` to its end, without the docstring."""
    lines = (node.end_lineno or 0) - node.lineno + 1
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def test_files_and_functions_can_be_read_at_once() -> None:
    texts = {name_of(file): file.read_text() for file in FILES}
    assert {name: text.count("\n") for name, text in texts.items() if text.count("\n") > 260} == {}
    functions = [
        (f"{name}.{node.name}", length(node))
        for name, text in texts.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert {name: lines for name, lines in functions if lines > 45} == {}


def test_every_file_says_what_it_does() -> None:
    assert [
        name_of(file) for file in FILES if file.read_text() and not ast.get_docstring(ast.parse(file.read_text()))
    ] == []


def size(file: Path) -> int:
    """Lines without docstrings."""
    tree, lines = ast.parse(file.read_text()), file.read_text().count("\n")
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            docstring = node.body[0]
            lines -= (docstring.end_lineno or 0) - docstring.lineno + 1
    return lines


def test_the_base_can_be_read_in_a_day_and_a_method_at_once() -> None:
    of_optim = ("relaxation", "outer", "scratch", "hyperparameters", "closure", "state", "finite", "shards", "step",
               "stepping", "middle")  # fmt: skip
    base = [PACKAGE / "optim" / f"{name}.py" for name in of_optim]
    base += [PACKAGE / "tasks" / f"{name}.py" for name in ("task", "metric", "classification")]
    base += [*(PACKAGE / "data").glob("*.py"), *(PACKAGE / "training").glob("*.py")]
    assert sum(map(size, base)) <= 3550
    methods = {file: size(file) for file in (PACKAGE / "optim").glob("*.py") if file not in base}
    assert {file.name: lines for file, lines in methods.items() if lines > 120} == {}
    for folder, most in (("tasks", 250), ("models", 120)):
        sizes = {file.name: size(file) for file in (PACKAGE / folder).glob("*.py")}
        assert {name: lines for name, lines in sizes.items() if lines > most} == {}
