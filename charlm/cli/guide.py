"""`charlm guide`: the pages that come with charlm, and what one setting does."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.arguments import JsonOption, RunsDirOption, read_checkpoint_choice
from charlm.cli.flags import FLAGS
from charlm.errors import ConfigError, printable

if TYPE_CHECKING:
    from charlm.cli.topics import Page
    from charlm.settings.reference import Entry

MAX_WIDTH = 100
MIN_WIDTH = 20
MAX_WORD = 100
GAP = "  "
# The pages that have a worked step: what it is about, and the section that it stands before.
WORKED = {
    "equations": ("equations", ""),
    "backpropagation": ("backpropagation", "What it costs in memory"),
    "results": ("perplexity", "How charlm measures"),
    "gradients": ("clipping", ""),
}


def guide(
    topic: Annotated[
        list[str] | None,
        typer.Argument(metavar="TOPIC", help="A page, a setting, or a command; without it, the list of pages."),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Print a page as the Markdown it is, without a pager.")] = False,
    run: Annotated[
        str | None,
        typer.Option("--run", help="Show the page with one step in the numbers of a run or an exported file."),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint", help="The checkpoint of --run: best, last, or a step's number.", show_default="best"
        ),
    ] = None,
    json_: JsonOption = False,
    runs_dir: RunsDirOption = None,
) -> None:
    """Read the guide: list its pages, or show one of them, or what a setting does.

    Examples:

        charlm guide

        charlm guide settings

        charlm guide hidden_size

        charlm guide equations --run my-lyrics

    With --run, the pages equations, backpropagation, perplexity and clipping have a worked step: what the network of
    that run computes on a few characters of its text, with every number. `--json` prints the numbers alone.
    """
    word = "-".join(topic or [])
    if run is not None:
        if raw and json_:
            raise ConfigError("give either --raw, the page as Markdown, or --json, the numbers alone")
        _show_worked(word, run, checkpoint or "best", runs_dir, raw=raw, as_json=json_)
        return
    if json_ or checkpoint is not None:
        option = "--json prints the numbers" if json_ else "--checkpoint chooses the checkpoint"
        raise ConfigError(f"{option} of a run's worked step: it needs --run, as in charlm guide equations --run RUN")
    if not word:
        typer.echo("\n".join(_listing()))
    elif source := _found(word):
        _show(source, raw=raw)
    else:
        raise ConfigError(_unknown(word))


def _show(source: str, *, raw: bool) -> None:
    """Show Markdown as the place wants it."""
    if raw:
        typer.echo(source, nl=False)
        return
    # Rich takes its time to load.
    from charlm.cli.topics import for_terminal
    from charlm.console.guide import show_markdown

    show_markdown(for_terminal(source), source=source)


def _show_worked(word: str, run: str, checkpoint: str, runs_dir: Path | None, *, raw: bool, as_json: bool) -> None:
    """Show a page with one step in a run's own numbers, or print the numbers."""
    page = _worked_page(word)
    topic, before = WORKED[page.topic]
    choice = read_checkpoint_choice(checkpoint)
    from charlm.console.terminal import print_json
    from charlm.library.models import open_run
    from charlm.library.worked import worked_step
    from charlm.library.worked_markdown import worked_markdown

    step = worked_step(open_run(run, checkpoint=choice, runs_dir=runs_dir), topic=topic)
    if as_json:
        print_json(step.as_record())
    else:
        _show(page.with_section(worked_markdown(step), before=before), raw=raw)


def _worked_page(word: str) -> Page:
    """Return the page that a word means.

    Raises:
        ConfigError: where there is no such page, or it has no worked step.
    """
    from charlm.cli.topics import page_of

    page = page_of(word)
    if page is not None and page.topic in WORKED:
        return page
    if word and not _found(word):
        raise ConfigError(_unknown(word))
    *first, last = (topic for topic, _ in WORKED.values())
    which = f"{printable(word, MAX_WORD)} has no worked step" if word else "--run goes with a page"
    raise ConfigError(f"{which}: charlm guide TOPIC --run RUN shows one for {', '.join(first)} and {last}")


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
