"""The options of `charlm train` for lists of items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from charlm.errors import ConfigError, printable

if TYPE_CHECKING:
    from charlm.settings.layers import SettingsLayer

PANEL = "Lists of items"
LinesOption = Annotated[
    bool,
    typer.Option("--lines", help="Learn each line by itself: names, titles, tweets.", rich_help_panel=PANEL),
]
ItemsOption = Annotated[
    Literal["lines", "files", "separated"] | None,
    typer.Option("--items", metavar="KIND", help="Learn lines, files or separated texts.", rich_help_panel=PANEL),
]
SeparatorOption = Annotated[
    str | None,
    typer.Option(
        "--separator", metavar="TEXT", help="Learn each text between two separators by itself.", rich_help_panel=PANEL
    ),
]


def item_layers(
    overrides: Sequence[str], *, lines: bool, items: str | None, separator: str | None
) -> list[SettingsLayer]:
    """Return the settings that the options stand for.

    Args:
        overrides: texts `section.key=value`.
        lines: whether --lines was given.
        items: the value of --items.
        separator: the value of --separator.
    Raises:
        ConfigError: for options that contradict each other.
    """
    from charlm.settings.layers import keyed_layer, override_layer, sets

    flag = "--lines" if lines else "--items" if items else "--separator"
    if not lines and items is None and separator is None:
        return []
    for text in overrides:
        if any(sets(override_layer(text), f"corpus.{key}") for key in ("items", "separator")) and items != "separated":
            raise ConfigError(f"give either {flag} or --set {printable(text)}: they are the same setting")
    if lines and (items or separator is not None):
        other = f"--items {items}" if items else "--separator"
        raise ConfigError(f"give either --lines or {other}: the items of a text are divided in one way")
    if separator is not None and items not in (None, "separated"):
        raise ConfigError(f"give either --items {items} or --separator: the items of a text are divided in one way")
    if separator is not None:
        kind = keyed_layer(("corpus", "items"), "separated", flag)
        return [kind, keyed_layer(("corpus", "separator"), separator, "--separator")]
    return [keyed_layer(("corpus", "items"), "lines" if lines else items, flag)]
