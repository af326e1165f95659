"""The options of `charlm train` for what everyone changes: each is a setting by a shorter name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.seeds import draw_seed
from charlm.errors import ConfigError, printable

if TYPE_CHECKING:
    from charlm.settings.layers import SettingsLayer

PANEL = "What everyone changes"
# The setting of each, and the name that its option has.
FLAGS = {
    "train.epochs": "--epochs",
    "train.max_steps": "--steps",
    "train.minutes": "--minutes",
    "model.cell": "--cell",
    "model.hidden_size": "--hidden-size",
    "model.num_layers": "--num-layers",
    "model.dropout": "--dropout",
    "optimizer.learning_rate": "--learning-rate",
    "sampling.batch_size": "--batch-size",
    "train.seed": "--seed",
}

EpochsOption = Annotated[
    str | None, typer.Option("--epochs", metavar="N", help="Passes over the text.", rich_help_panel=PANEL)
]
StepsOption = Annotated[
    str | None,
    typer.Option("--steps", metavar="N", help="Optimiser steps; what is reached first ends it.", rich_help_panel=PANEL),
]
MinutesOption = Annotated[
    str | None, typer.Option("--minutes", metavar="X", help="Minutes of training.", rich_help_panel=PANEL)
]
CellOption = Annotated[
    str | None, typer.Option("--cell", metavar="CELL", help="rnn, gru or lstm.", rich_help_panel=PANEL)
]
HiddenOption = Annotated[
    str | None, typer.Option("--hidden-size", metavar="N", help="Units of each layer.", rich_help_panel=PANEL)
]
LayersOption = Annotated[
    str | None, typer.Option("--num-layers", metavar="N", help="Layers above one another.", rich_help_panel=PANEL)
]
DropoutOption = Annotated[
    str | None,
    typer.Option("--dropout", metavar="X", help="Share of units dropped between layers.", rich_help_panel=PANEL),
]
RateOption = Annotated[
    str | None,
    typer.Option("--learning-rate", metavar="X", help="Learning rate of the optimiser.", rich_help_panel=PANEL),
]
BatchOption = Annotated[
    str | None, typer.Option("--batch-size", metavar="N", help="Windows side by side.", rich_help_panel=PANEL)
]
SeedOption = Annotated[
    str | None,
    typer.Option("--seed", metavar="N", help="Random seed; random draws one and names it.", rich_help_panel=PANEL),
]


@dataclass(frozen=True)
class Flags:
    """What was given of these options, each as it was typed, in the order of `FLAGS`."""

    epochs: str | None
    steps: str | None
    minutes: str | None
    cell: str | None
    hidden_size: str | None
    num_layers: str | None
    dropout: str | None
    learning_rate: str | None
    batch_size: str | None
    seed: str | None

    def layers(self, overrides: Sequence[str]) -> list[SettingsLayer]:
        """Return a layer of settings for each.

        Args:
            overrides: texts `section.key=value`.
        Raises:
            ConfigError: for a setting that is among the overrides too.
        """
        return list(self._layers(overrides))

    def _layers(self, overrides: Sequence[str]) -> Iterator[SettingsLayer]:
        from charlm.settings.layers import keyed_layer, override_layer, sets
        from charlm.settings.strict_yaml import parse_yaml

        typed = [(text, override_layer(text)) for text in overrides]
        for (key, flag), field in zip(FLAGS.items(), fields(self), strict=True):
            value: str | None = getattr(self, field.name)
            if value is None:
                continue
            if twice := next((text for text, layer in typed if sets(layer, key)), None):
                raise ConfigError(f"give either {flag} or --set {printable(twice)}: they are the same setting")
            yield keyed_layer(key.split("."), parse_yaml(value, flag).value, flag)


def asked_seed(seed: str | None, *, resume: bool, seeds: int | None, quiet: bool) -> str | None:
    """Return the random seed that was asked for; `random` draws one and says which.

    Args:
        seed: as it was typed.
        resume: whether a run goes on.
        seeds: how many runs are asked for, each with a seed of its own.
        quiet: whether a drawn seed is only recorded.
    Raises:
        ConfigError: for a seed where the seeds are set already.
    """
    if seed is not None and seeds is not None:
        raise ConfigError("--seed is of one run, and --seeds trains several: --set train.seed=N is the first of theirs")
    if seed != "random":
        return seed
    if resume:
        raise ConfigError(
            "--seed random draws a new random seed, and a run that is resumed keeps its own: leave it out"
        )
    return str(draw_seed(None if quiet else "repeats this run"))
