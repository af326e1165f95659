"""Resolve the texts given to `charlm train`: files, folders, standard input, or a known corpus."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.words import meant_setting
from charlm.errors import ConfigError, printable

if TYPE_CHECKING:
    from charlm.settings.layers import SettingsLayer

MAX_SHOWN = 200
GlobOption = Annotated[
    list[str] | None,
    typer.Option(
        "--glob",
        metavar="PATTERN",
        help="Which files of a folder are read, such as '*.py'; may be repeated.",
        show_default="*.txt, *.md and *.text",
    ),
]


def corpus_layers(
    texts: Sequence[str], options: Sequence[str], globs: Sequence[str] = (), *, is_text_known: bool = False
) -> list[SettingsLayer]:
    """Return the settings that select a run's texts: the arguments first, then those of --corpus, and --glob.

    The name of a known corpus works too, unless a file of that name exists.

    Args:
        texts: the arguments.
        options: the values of --corpus.
        globs: the values of --glob.
        is_text_known: whether a configuration or a run that is resumed may name the text.
    Raises:
        ConfigError: for a word that was meant as a setting or a configuration, for a known corpus that is combined
            with other texts, and for --glob without a folder.
    """
    from charlm.settings.layers import keyed_layer
    from charlm.text.known import corpus_names

    for text in texts:
        _refuse_no_text(text)
    named, source = [*texts, *options], "TEXT" if texts else "--corpus"
    known = [each for each in named if each in corpus_names() and not os.path.lexists(each)]
    if known and len(named) > 1:
        raise ConfigError(f"the corpus {known[0]} cannot be combined with other texts: leave them out")
    if named.count("-") > 1:
        raise ConfigError("- may be given only once, because there is only one standard input")
    # Unlike Path.is_dir this takes any name. Of a name that does not exist the search says more.
    has_folder = any(os.path.isdir(each) or not os.path.lexists(each) for each in named)  # noqa: PTH112
    if globs and not has_folder and (named or not is_text_known):
        pattern = printable(globs[0], MAX_SHOWN)
        raise ConfigError(f"--glob {pattern} chooses among the files of a folder: name the folder too, such as .")
    layers = [keyed_layer(("corpus", "glob"), [*globs], "--glob")] if globs else []
    if known:
        return [keyed_layer(("corpus", "name"), known[0], source)]
    return [keyed_layer(("corpus", "path"), [*named], source), *layers] if named else layers


def _refuse_no_text(word: str) -> None:
    """Refuse an argument that is not a text: a setting without --set, or a configuration without --config."""
    from charlm.settings.layers import shipped_names

    shown, exists = printable(word, MAX_SHOWN), os.path.lexists(word)
    if Path(word).suffix in (".yaml", ".yml"):
        raise ConfigError(f"{shown} is a configuration: --config {shown}; as a text to train on: --corpus {shown}")
    if not exists and word in shipped_names():
        raise ConfigError(f"{shown} is a configuration, not a text: --config {shown}")
    if not exists and (meant := meant_setting(word)):
        raise ConfigError(f"there is no text {shown}; did you mean {meant}?")
