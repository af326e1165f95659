"""`charlm guide`: the pages that come with charlm, and what one setting does."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.flags import FLAGS
from charlm.errors import ConfigError, printable

if TYPE_CHECKING:
    from charlm.settings.reference import Entry

MAX_WIDTH = 100
MIN_WIDTH = 20
MAX_WORD = 100
GAP = "  "


def guide(
    topic: Annotated[
        list[str] | None,
        typer.Argument(metavar="TOPIC", help="A page, a setting, or a command; without it, the list of pages."),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Print a page as the Markdown it is, without a pager.")] = False,
) -> None:
    """Read the guide: list its pages, or show one of them, or what a setting does.

    Examples:

        charlm guide

        charlm guide settings

        charlm guide hidden_size
    """
    from charlm.cli.topics import for_terminal

    word = "-".join(topic or [])
    if not word:
        typer.echo("\n".join(_listing()))
    elif source := _found(word):
        if raw:
            typer.echo(source, nl=False)
        else:
            # Rich takes its time to load.
            from charlm.console.guide import show_markdown

            show_markdown(for_terminal(source), source=source)
    else:
        raise ConfigError(_unknown(word))


def _listing() -> Iterator[str]:
    """Yield a line for each page; on a terminal one that fits."""
    from charlm.cli.topics import pages

    longest = max(map(len, pages()), default=0)
    width = max(min(shutil.get_terminal_size().columns, MAX_WIDTH) - longest - len(GAP) * 2, MIN_WIDTH)
    yield "Pages of the guide:"
    yield ""
    for name, page in pages().items():
        line = f"{page.title}: {page.summary.removeprefix('This page ')}"
        shown = textwrap.shorten(line, width, placeholder=" ...") if sys.stdout.isatty() else line
        yield f"{GAP}{name:<{longest}}{GAP}{shown}"
    yield ""
    yield "charlm guide TOPIC shows a page, charlm guide SETTING what a setting does."


def _found(word: str) -> str:
    """Return the Markdown that a word asks for: a page, a part of one, or settings; empty where there is none."""
    from charlm.cli.topics import page_of, pages
    from charlm.settings.reference import entries

    if page := page_of(word):
        return page.text
    asked = word.replace("-", "_")
    if settings := [entry for key, entry in entries().items() if asked in (key, key.rpartition(".")[2])]:
        return "\n".join(map(_described, settings))
    parts = [page.section(name) for page in pages().values() for name in (word, f"charlm {word.replace('-', ' ')}")]
    return "\n".join(part for part in parts if part)


def _described(entry: Entry) -> str:
    """Return what is to be said of a setting, as Markdown."""
    from charlm.cli.topics import mentioning

    flag = FLAGS.get(entry.key)
    value = "VALUE" if entry.default == "null" else entry.default
    ways = [f"`{flag} {value}`"] if flag else []
    ways.append(f"`--set {entry.key}={value}`")
    topics = [f"[{topic}]({topic}.md)" for topic in (*mentioning(entry.key), "settings")]
    meaning = entry.meaning[:1].upper() + entry.meaning[1:].rstrip(".")
    lines = [
        f"# {entry.key}",
        f"{meaning}.",
        "\n".join(
            (
                f"- Values: {entry.values}",
                f"- Default: `{entry.default}`",
                f"- On the command line: {' or '.join(ways)}",
                f"- Read more: {', '.join(topics)}",
            )
        ),
    ]
    return "\n\n".join(lines) + "\n"


def _unknown(word: str) -> str:
    """Return the sentence for a word that is neither a page nor a setting, with the one that was meant."""
    from charlm.cli.topics import ALIASES, pages
    from charlm.settings.diagnosis import nearest_key
    from charlm.settings.nearest import did_you_mean, meaning_of, nearest_name
    from charlm.settings.reference import entries

    keys = entries()
    known = [*pages(), *(alias for alias, topic in ALIASES.items() if topic in pages())]
    near = meaning_of(word, keys) or nearest_name(word, known) or nearest_key(word)
    remedy = did_you_mean(near and f"charlm guide {near}") or "; charlm guide lists the pages"
    return f"the guide has no page {printable(word, MAX_WORD)}{remedy}"
