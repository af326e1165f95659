"""`charlm generate --new`: items that are neither in the list nor written before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from charlm.library.items import NewItem
    from charlm.library.models import Model

NewOption = Annotated[
    bool,
    typer.Option(
        "--new", help="Write only items that are not in the list the run was trained on, each once (see --lines)."
    ),
]


def told(items: Iterable[NewItem], wanted: int) -> Iterator[str]:
    """Yield the texts of items; then say on standard error how many tries they took, where that was many."""
    from charlm.library.items import max_tries

    found = tries = 0
    for item in items:
        found, tries = found + 1, item.tries
        yield item.text
    if found < wanted:
        number = f"only {found:,}" if found else "none"
        typer.echo(
            f"charlm: {number} of {max_tries(wanted):,} items that were written are new; the others are in the list or "
            "were written before (a higher --temperature finds more)",
            err=True,
        )
    elif tries > 2 * found:
        typer.echo(f"charlm: {tries:,} tries for {found:,} new items", err=True)


def between(model: Model) -> str:
    """Return what is printed between two texts: nothing between lines, the separator where there is one."""
    corpus = model.checkpoint.settings.corpus
    if corpus.items == "lines":
        return ""
    return "\n" if corpus.separator is None else f"{corpus.separator}\n"
