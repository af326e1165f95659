"""The options of `charlm train` for training on: `--from RUN` and `--new-characters`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.errors import ConfigError, printable

if TYPE_CHECKING:
    from charlm.settings.layers import SettingsLayer

FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="RUN",
        help="Start from the best checkpoint of a run: its name or path, newest, or a checkpoint's path.",
    ),
]
NewCharactersOption = Annotated[
    str | None,
    typer.Option(
        "--new-characters",
        metavar="X",
        help="With --from, what to do with characters that its model does not know: error, extend or drop.",
        show_default="error",
    ),
]


def start_layers(
    run: str | None, new_characters: str | None, overrides: Sequence[str], *, resume: bool
) -> list[SettingsLayer]:
    """Return the settings of --from and --new-characters, one layer for each.

    Args:
        run: the value of --from.
        new_characters: the value of --new-characters.
        overrides: texts `section.key=value`.
        resume: whether a run is resumed.
    Raises:
        ConfigError: for a setting that is also among the overrides, and for a run that is resumed.
    """
    from charlm.settings.layers import keyed_layer, override_layer, sets

    given = {"run": ("--from", run), "new_characters": ("--new-characters", new_characters)}
    layers: list[SettingsLayer] = []
    for name, (option, value) in given.items():
        if value is None:
            continue
        if resume:
            raise ConfigError(
                f"{option} is for a new run that starts from the weights of another, and --resume continues the run "
                "that --run names, from its own checkpoint: leave one of the two out"
            )
        if twice := next((text for text in overrides if sets(override_layer(text), f"start.{name}")), None):
            raise ConfigError(f"give either {option} or --set {printable(twice)}: they are the same setting")
        layers.append(keyed_layer(("start", name), value, option))
    return layers
