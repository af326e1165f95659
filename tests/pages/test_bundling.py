"""Modules are joined in the order in which they need each other, and nothing is lost or doubled."""

from __future__ import annotations

import re

import pytest

from charlm.pages.bundling import bundle
from charlm.pages.document import page_modules
from charlm.settings.shipped import shipped_folder

MAX_LINES = 300
MODULES = {
    "main": 'import { two } from "./two.js";\nimport {\n  one,\n} from "./one.js";\n\none(two);\n',
    "two": 'import { one } from "./one.js";\n\nexport const two = one(1);\n',
    "one": "/** Return it. */\nexport function one(x) {\n  return x;\n}\n",
}


def test_what_is_needed_comes_first_and_once() -> None:
    joined = bundle(MODULES)
    assert joined == (
        '(() => {\n"use strict";\n/** Return it. */\nfunction one(x) {\n  return x;\n}\n\n'
        "const two = one(1);\n\none(two);\n})();\n"
    )


@pytest.mark.parametrize(
    ("module", "source", "problem"),
    [
        ("one", 'import { two } from "./two.js";\nexport const one = two;\n', "in a circle: main -> two -> one -> two"),
        ("one", "export const one = 1;\nfunction two() {}\n", "share names: two"),
        ("one", "export default 1;\n", "one.js has a line that cannot be joined: export default 1;"),
        ("one", 'import one from "./two.js";\n', "cannot be joined: import one"),
        ("one", 'export { two } from "./two.js";\n', "cannot be joined: export {"),
    ],
)
def test_modules_that_cannot_be_joined_are_refused(module: str, source: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        bundle({**MODULES, module: source})


def test_all_modules_of_the_page_are_in_its_script() -> None:
    joined = bundle(page_modules())
    for name, source in page_modules().items():
        first = source.partition("\n")[0]
        assert first.startswith("// "), f"{name}.js does not say what it is for"
        assert joined.count(first) == 1, f"{name}.js is not imported by any other"


def test_no_file_of_the_page_is_too_long() -> None:
    pages = shipped_folder("pages")
    files = [*(pages / "script").iterdir(), *(pages / "style").iterdir(), pages / "page.html"]
    lengths = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_every_exported_name_is_documented() -> None:
    bare = re.compile(r"(?<!\*/\n)^export (?:function\*?|class|const) (\w+)", re.MULTILINE)
    found = {name: bare.findall(source) for name, source in page_modules().items()}
    # What follows another exported constant shares its comment.
    assert {name: names for name, names in found.items() if names and names != ["END"]} == {}


def test_text_never_becomes_markup() -> None:
    markup = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function")
    assert [name for name, source in page_modules().items() if markup.search(source)] == []
