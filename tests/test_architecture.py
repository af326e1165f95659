"""The architecture, checked from the source: which room may import which, sizes, docstrings."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import charlm

FLOORS = {
    "errors": 0,
    "settings": 1,
    "text": 2,
    "kernels": 2,
    "networks": 3,
    "recipes": 3,
    "runs": 4,
    "evaluation": 4,
    "generation": 4,
    "insight": 4,
    "coding": 4,
    "training": 5,
    "mixtures": 5,
    "sweeps": 6,
    "reports": 6,
    "benchmarks": 6,
    "console": 7,
    "pages": 7,
    "library": 8,
    "cli": 9,
}
# The package itself and `python -m charlm` are outside the rooms.
OUTSIDE = ("__init__", "__main__")
# What only these modules may import, anywhere in them.
KEEPERS = {
    "typer": ("cli",),
    "rich": ("console",),
    "yaml": ("settings.strict_yaml",),
    "click": (),
    "prompt_toolkit": ("console.chat", "console.chat_history"),
    "matplotlib": ("reports.plotting", "reports.figures", "reports.fonts"),
}
WITHOUT_TORCH = ("errors", "settings", "text")
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 50
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Import:
    """One imported module: its dotted name, and whether it is imported when the importing module is."""

    name: str
    line: int
    is_at_once: bool


def package_sources() -> dict[str, str]:
    """Return the source of each module of the package under its dotted name, without the leading `charlm.`."""
    root = Path(charlm.__file__).parent
    files = sorted(root.rglob("*.py"))
    return {".".join(file.relative_to(root).with_suffix("").parts): file.read_text(encoding="utf-8") for file in files}


def walk(node: ast.AST, *, is_at_once: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Yield every node below one, and whether it runs when the module is imported."""
    for child in ast.iter_child_nodes(node):
        typing_only = isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        runs = is_at_once and not typing_only and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        yield child, runs
        yield from walk(child, is_at_once=runs)


def imports(source: str) -> list[Import]:
    """Return every module a source imports; `from a import b` counts as a and as a.b."""
    found: list[Import] = []
    for node, is_at_once in walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node.lineno, is_at_once) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            found += [Import(f"{base}.{alias.name}", node.lineno, is_at_once) for alias in node.names]
    return found


def room(module: str) -> str:
    """Return the first part of a module's name below the package."""
    return module.partition(".")[0]


def arrow_problems(sources: Mapping[str, str]) -> list[str]:
    """Return each import that does not point to a lower floor, and each module in no known room."""
    problems: list[str] = []
    for module, source in sources.items():
        here = room(module)
        if here in OUTSIDE:
            continue
        if here not in FLOORS:
            problems.append(f"{module} is in no known room")
            continue
        for imported in imports(source):
            if imported.name.startswith("."):
                problems.append(f"{module}:{imported.line} imports relatively")
            target = room(imported.name.removeprefix("charlm."))
            if not imported.name.startswith("charlm.") or target in (here, "__version__"):
                continue
            if FLOORS.get(target, len(FLOORS)) >= FLOORS[here]:
                problems.append(f"{module}:{imported.line} imports {imported.name}, which lies no lower")
    return problems


def keeper_problems(sources: Mapping[str, str]) -> list[str]:
    """Return each import of a library outside the rooms that may use it."""
    problems: list[str] = []
    for module, source in sources.items():
        for imported in imports(source):
            library = room(imported.name)
            allowed = any(f"{module}.".startswith(f"{keeper}.") for keeper in KEEPERS.get(library, (module,)))
            is_torchless = room(module) in WITHOUT_TORCH or (room(module) in ("cli", *OUTSIDE) and imported.is_at_once)
            if not allowed or (is_torchless and library in ("torch", "safetensors")):
                problems.append(f"{module}:{imported.line} imports {library}")
    return problems


def size_problems(sources: Mapping[str, str]) -> list[str]:
    """Return each file and function that is too long."""
    problems: list[str] = []
    for module, source in sources.items():
        if (num_lines := len(source.splitlines())) > MAX_FILE_LINES:
            problems.append(f"{module} has {num_lines} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                # An example is a test that is next to its function, and does not count towards it.
                example = "".join((ast.get_docstring(node) or "").partition("\n\nExample:\n")[1:])
                # Nor do the options of a command, which have a line each.
                first = node.body[0].lineno if room(module) == "cli" else node.lineno
                num_lines = (node.end_lineno or first) - first + 1 - len(example.splitlines())
                if num_lines > MAX_FUNCTION_LINES:
                    problems.append(f"{module}:{node.lineno} {node.name} has {num_lines} lines")
    return problems


def public_definitions(tree: ast.Module | ast.ClassDef) -> Iterator[Definition]:
    """Yield the public functions and classes of a module, and those of its public classes."""
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node)


def docstring_problems(sources: Mapping[str, str]) -> list[str]:
    """Return each public name without a docstring whose first line is a whole sentence."""
    problems: list[str] = []
    for module, source in sources.items():
        tree = ast.parse(source)
        for node in (tree, *public_definitions(tree)):
            name = getattr(node, "name", "the module")
            lines = (ast.get_docstring(node) or "").splitlines()
            if not lines:
                problems.append(f"{module}: {name} has no docstring")
            elif lines[0][-1] not in ".:":
                problems.append(f"{module}: {name}'s docstring does not open with a sentence: {lines[0]!r}")
    return problems


CHECKS = (arrow_problems, keeper_problems, size_problems, docstring_problems)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_package_keeps_its_shape(check: type) -> None:
    assert check(package_sources()) == []


def test_every_room_of_the_package_is_read() -> None:
    modules = package_sources()
    assert {"errors", "library.__init__", "settings.schema", "cli.main", "runs.run", "__init__"} <= modules.keys()
    assert len(modules) > 40


def test_no_module_of_a_lower_floor_comes_without_its_arrows_being_seen() -> None:
    # If the reader of imports went blind, every check above would pass: these arrows are known to be there.
    seen = {imported.name for source in package_sources().values() for imported in imports(source)}
    assert {"typer", "yaml", "torch.Tensor", "rich.table.Table", "charlm.errors.RunError"} <= seen


@pytest.mark.parametrize(
    ("check", "module", "source", "problem"),
    [
        (arrow_problems, "text.files", "from charlm.networks.cells import rnn_cell", "which lies no lower"),
        (arrow_problems, "errors", "import charlm.settings.schema", "which lies no lower"),
        (arrow_problems, "runs.run", "from charlm import library", "which lies no lower"),
        (arrow_problems, "runs.run", "from charlm.evaluation import figure", "which lies no lower"),
        (arrow_problems, "runs.run", "def read():\n    from charlm.cli import main", "which lies no lower"),
        (arrow_problems, "runs.run", "if TYPE_CHECKING:\n    from charlm.training import loop", "lies no lower"),
        (arrow_problems, "training.loop", "from charlm.attic import old", "which lies no lower"),
        (arrow_problems, "training.loop", "from . import step", "imports relatively"),
        (arrow_problems, "attic.old", "", "is in no known room"),
        (keeper_problems, "console.tables", "import typer", "imports typer"),
        (keeper_problems, "cli.train", "from rich.table import Table", "imports rich"),
        (keeper_problems, "settings.layers", "import yaml", "imports yaml"),
        (keeper_problems, "settings.strict_yaml_again", "import yaml", "imports yaml"),
        (keeper_problems, "cli.train", "import click", "imports click"),
        (keeper_problems, "reports.curves", "def draw():\n    import matplotlib.figure", "imports matplotlib"),
        (keeper_problems, "text.vocabulary", "def encode():\n    import torch", "imports torch"),
        (keeper_problems, "settings.schema", "from torch import Tensor", "imports torch"),
        (keeper_problems, "cli.train", "import torch", "imports torch"),
        (keeper_problems, "cli.train", "class Options:\n    import torch.nn", "imports torch"),
        (size_problems, "text.long", "x = 1\n" * 301, "has 301 lines"),
        (size_problems, "text.long", "class C:\n    def f():\n" + "        x = 1\n" * 50, "f has 51 lines"),
        (docstring_problems, "text.bare", "", "the module has no docstring"),
        (docstring_problems, "text.bare", "'''Hold.'''\ndef f(): ...", "f has no docstring"),
        (docstring_problems, "text.bare", "'''Hold.'''\nclass C:\n    '''Be.'''\n    def m(self): ...", "m has no"),
        (docstring_problems, "text.bare", "'''Hold.'''\nclass C: ...", "C has no docstring"),
        (docstring_problems, "text.bare", "'''Hold'''", "does not open with a sentence"),
    ],
)
def test_a_made_up_offender_is_caught(check: type, module: str, source: str, problem: str) -> None:
    (found,) = check({module: source})
    assert module in found
    assert problem in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cli.train", "import typer\ndef train():\n    import torch\n    from charlm.library.training import train"),
        ("cli.train", "if TYPE_CHECKING:\n    from torch import Tensor"),
        ("settings.strict_yaml", "import yaml\nfrom charlm.errors import ConfigError"),
        ("console.tables", "from rich.table import Table\nfrom charlm.training.events import End"),
        ("training.loop", "from charlm import __version__\nfrom charlm.training.step import take_step"),
        ("library", "from charlm.runs.run import Run\nimport torch"),
        ("networks.cells", "def f():\n    '''" + "x\n" * 47 + "'''"),
    ],
)
def test_a_made_up_good_module_passes(module: str, source: str) -> None:
    assert [problem for check in CHECKS[:3] for problem in check({module: source})] == []
