"""The settings that a `charlm train` command asks for: its configuration, texts, options and overrides together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.cli.corpora import corpus_layers
from charlm.cli.flags import Flags

if TYPE_CHECKING:
    from charlm.settings.layers import SettingsLayer
    from charlm.settings.schema import Settings

# The configuration of a text that is given without one.
AUTOMATIC = "auto"


@dataclass(frozen=True)
class Asked:
    """What to train with.

    Args:
        settings: the settings; None for a run that is resumed with its own.
        overrides: what changes a run's own settings.
    """

    settings: Settings | None
    overrides: Sequence[str | SettingsLayer] = ()


def asked_for(
    *,
    config: list[str],
    texts: list[str],
    corpus: list[str],
    glob: list[str],
    items: list[SettingsLayer],
    flags: Flags,
    starts: list[SettingsLayer],
    overrides: list[str],
    resumed: Settings | None,
    resume: bool,
) -> Asked:
    """Return what a command asks for.

    Args:
        config: the configurations.
        texts: the texts given as arguments.
        corpus: those given with --corpus.
        glob: patterns of the files of folders.
        items: the settings that divide the text into items.
        flags: the options for single settings.
        starts: the settings of --from and --new-characters.
        overrides: texts `section.key=value`.
        resumed: the settings of the run that will be resumed; None for a new run.
        resume: whether --resume was given.
    Raises:
        ConfigError: for settings that cannot be combined.
        TextError: for a corpus that does not exist.
    """
    from charlm.settings.loading import load_settings

    # The minutes of an older run are a limit, which says nothing about its schedule.
    is_fitted = resumed is None or resumed.train.fit_minutes is not None
    layers = [*items, *flags.layers(overrides, is_fitted=is_fitted), *starts]
    corpora = corpus_layers(texts, corpus, glob, is_text_known=bool(config) or resume)
    if resume and not (config or texts or corpus):
        return Asked(None, [*corpora, *layers, *overrides])
    if corpora and not config and resumed is None:
        config = [AUTOMATIC]
    return Asked(load_settings(*config, overrides=overrides, layers=[*corpora, *layers]))


def resumed_settings(name: str | None, runs_dir: Path | None) -> Settings | None:
    """Return the settings of the run that will be resumed, or None if it does not exist yet."""
    from charlm.runs.run import Run, find_unfinished, runs_folder

    folder = runs_folder(runs_dir)
    run = find_unfinished(folder) if name is None else Run(folder / name)
    return run.settings() if run.exists else None
