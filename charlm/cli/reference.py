"""The pages of the guide that are made from the program: settings, commands and the list of pages.

`python -m charlm.cli.reference` writes them into the checkout's `charlm/guide`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from charlm.cli.help import COMMANDS, described, panels_of, usage
from charlm.cli.topics import Page, pages
from charlm.settings.reference import reference

if TYPE_CHECKING:
    from typer._click import Context

REGENERATE = "python -m charlm.cli.reference"
FOLDER = Path(__file__).parents[1] / "guide"
SETTINGS_HEAD = """# Settings

This page lists every setting of a run: what it may be, its default, and what it does.

Set one with `--set section.key=value`, as often as you like, or write it into a YAML file and train with
`--config FILE`. A later file wins over an earlier one, and `--set` wins over all files. `charlm config init my.yaml`
writes a file with all of them, and `charlm guide hidden_size` shows a single one. Settings that do not go together are
refused by name before anything starts.

Without a text and without `--config`, `charlm train` takes the quick start, a configuration with values of its own:
`charlm config show` prints it.
"""
COMMANDS_HEAD = """# Commands

This page lists every command with its arguments and options, as `charlm COMMAND --help` prints them.
"""
INDEX_HEAD = """# The charlm guide

These are the pages of the guide in reading order; in a terminal, `charlm guide TOPIC` shows each of them.
`charlm guide TOPIC --run RUN` shows the pages about equations, back-propagation, perplexity and clipping with one
step of a run's own network, in numbers.
"""
# What the list of pages says of those that are made here: they may be about to be written anew.
HEADS = {"settings": SETTINGS_HEAD, "commands": COMMANDS_HEAD}


def generated() -> dict[str, str]:
    """Return the text of each page that is made, by its file's name."""
    return {
        "settings.md": settings_page(),
        "commands.md": commands_page(),
        "README.md": index_page(),
    }


def settings_page() -> str:
    """Return a table of the settings of each section."""
    blocks = [SETTINGS_HEAD]
    for section in reference():
        settings = [(f"`{entry.key}`", entry.values, f"`{entry.default}`", entry.meaning) for entry in section.settings]
        table = _table(("setting", "values", "default", "what it does"), settings)
        blocks.append(f"## {section.key}\n\n{section.description}\n\n{table}")
    return _closed(blocks)


def commands_page() -> str:
    """Return usage, purpose, examples and options of each command."""
    from charlm.cli.main import app

    command = get_command(app)
    assert isinstance(command, TyperGroup)
    return _closed([COMMANDS_HEAD, *_commands(command, "charlm")])


def index_page() -> str:
    """Return the list of the pages, with the first sentence of each."""
    listed = pages() | {topic: Page(topic, text) for topic, text in HEADS.items()}
    lines = [
        f"- [{each.title}]({topic}.md): {each.summary.removeprefix('This page ')}" for topic, each in listed.items()
    ]
    return _closed([INDEX_HEAD, "\n".join(lines) + "\n"])


def _commands(command: TyperCommand | TyperGroup, path: str, parent: Context | None = None) -> Iterator[str]:
    context = command.make_context(path.rpartition(" ")[2], [], parent, resilient_parsing=True)
    if isinstance(command, TyperGroup):
        for name in command.list_commands(context):
            nested = command.commands[name]
            if not nested.hidden and isinstance(nested, TyperCommand | TyperGroup):
                yield from _commands(nested, f"{path} {name}", context)
        return
    parts = described(command.help or "")
    panels = {panel: each for panel, each in panels_of(command, context).items() if panel != COMMANDS}
    blocks = [f"## {path}", parts.purpose, _fence("text", [usage(command, context)])]
    blocks += [_fence("sh parsed", parts.examples)] if parts.examples else []
    blocks += parts.notes
    for panel, each in panels.items():
        blocks.append(_table((panel.lower(), "what it does"), ((f"`{name}`", text) for name, text in each)).rstrip())
    yield "\n\n".join(blocks) + "\n"


def _table(titles: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table; bars within cells are escaped."""
    cells = [titles, tuple("---" for _ in titles), *(tuple(map(_cell, line)) for line in lines)]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _fence(language: str, lines: Iterable[str]) -> str:
    return "\n".join((f"```{language}", *lines, "```"))


def _closed(blocks: Iterable[str]) -> str:
    """Return a page with its last line, which says how it is made."""
    return "\n".join((*blocks, f"This page is generated; `{REGENERATE}` writes it anew."))


def main() -> None:
    """Write the pages."""
    for name, text in generated().items():
        (FOLDER / name).write_text(text + "\n", encoding="utf-8")
        print(shlex.quote(str(FOLDER / name)))


if __name__ == "__main__":
    main()
