"""Join the page's modules into one script, in the order in which they need each other.

A page that opens from disk cannot import modules. They are written so that joining them is all that there is to do:
each import is on one line or spread over lines up to its `;`, names what it imports, and no two modules have a name in
common.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(?P<module>[a-z-]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const)\b)", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
_NAME = re.compile(r"^(?:export )?(?:async )?(?:function\*?|class|const|let) (?P<name>[\w$]+)", re.MULTILINE)


def bundle(modules: Mapping[str, str], first: str = "main") -> str:
    """Return one script of a module and of all that it imports, in strict mode and in a scope of its own.

    Args:
        modules: the source of each module, by its name without the ending.
        first: the module that comes last, because it needs all others.
    Raises:
        ValueError: for modules that import in a circle, or in a way that is not known here, or share a name.
    """
    order = _in_order(modules, first, ())
    joined = "\n".join(_plain(name, modules[name]) for name in order)
    names = [found["name"] for found in _NAME.finditer(joined)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"the modules of the page share names: {', '.join(twice)}")
    return f'(() => {{\n"use strict";\n{joined}}})();\n'


def _in_order(modules: Mapping[str, str], name: str, above: tuple[str, ...]) -> list[str]:
    """Return a module's name after the names of those that it needs, each once."""
    if name in above:
        raise ValueError(f"the modules of the page import in a circle: {' -> '.join((*above, name))}")
    needed = (found["module"] for found in _IMPORT.finditer(modules[name]))
    before = [each for module in needed for each in _in_order(modules, module, (*above, name))]
    return list(dict.fromkeys([*before, name]))


def _plain(name: str, source: str) -> str:
    """Return a module's source without its imports and without the word `export`."""
    source = _EXPORT.sub("", _IMPORT.sub("", source))
    if left := _LEFT.search(source):
        raise ValueError(f"{name}.js has a line that cannot be joined: {left[0]}")
    return source.lstrip("\n")
