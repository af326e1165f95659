"""The options of `charlm train` for the most used settings: each is a shorter name for a setting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.seeds import draw_seed
from charlm.errors import ConfigError, printable

if TYPE_CHECKING:
    from charlm.settings.layers import SettingsLayer

PANEL = "Common settings"
# Each setting with the name of its option.
FLAGS = {
    "train.epochs": "--epochs",
    "train.max_steps": "--steps",
    "train.fit_minutes": "--minutes",
    "model.cell": "--cell",
    "model.hidden_size": "--hidden-size",
    "model.num_layers": "--num-layers",
    "model.dropout": "--dropout",
    "optimizer.learning_rate": "--learning-rate",
    "sampling.batch_size": "--batch-size",
    "train.seed": "--seed",
}

EpochsOption = Annotated[
    str | None,
    typer.Option("--epochs", metavar="N", help="Number of passes over the training split.", rich_help_panel=PANEL),
]
StepsOption = Annotated[
    str | None,
    typer.Option("--steps", metavar="N", help="Number of optimiser steps.", rich_help_panel=PANEL),
]
MinutesOption = Annotated[
    str | None,
    typer.Option(
        "--minutes", metavar="X", help="Minutes that the whole run takes; 5 for a text.", rich_help_panel=PANEL
    ),
]
CellOption = Annotated[
    str | None,
    typer.Option("--cell", metavar="CELL", help="The recurrent cell: rnn, gru or lstm.", rich_help_panel=PANEL),
]
HiddenOption = Annotated[
    str | None, typer.Option("--hidden-size", metavar="N", help="Units in each layer.", rich_help_panel=PANEL)
]
LayersOption = Annotated[
    str | None, typer.Option("--num-layers", metavar="N", help="Number of recurrent layers.", rich_help_panel=PANEL)
]
DropoutOption = Annotated[
    str | None,
    typer.Option("--dropout", metavar="X", help="Dropout probability between layers.", rich_help_panel=PANEL),
]
RateOption = Annotated[
    str | None,
    typer.Option("--learning-rate", metavar="X", help="Learning rate of the optimiser.", rich_help_panel=PANEL),
]
BatchOption = Annotated[
    str | None, typer.Option("--batch-size", metavar="N", help="Number of windows in a batch.", rich_help_panel=PANEL)
]
SeedOption = Annotated[
    str | None,
    typer.Option("--seed", metavar="N", help="Random seed; 'random' picks one and prints it.", rich_help_panel=PANEL),
]


@dataclass(frozen=True)
class Flags:
    """The values of these options as they were typed, in the order of `FLAGS`; None where one is missing."""

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

    def layers(self, overrides: Sequence[str], *, is_fitted: bool = True) -> list[SettingsLayer]:
        """Return one layer of settings for each option that was given.

        Args:
            overrides: texts `section.key=value`.
            is_fitted: whether minutes decide the number of steps; otherwise they are a limit, as they are next to a
                number of steps or epochs.
        Raises:
            ConfigError: for a setting that is also among the overrides.
        """
        return list(self._layers(overrides, is_fitted=is_fitted))

    def _layers(self, overrides: Sequence[str], *, is_fitted: bool) -> Iterator[SettingsLayer]:
        from charlm.settings.layers import keyed_layer, override_layer, sets
        from charlm.settings.strict_yaml import parse_yaml

        typed = [(text, override_layer(text)) for text in overrides]
        has_length = any(sets(layer, f"train.{name}") for _, layer in typed for name in ("epochs", "max_steps"))
        is_limit = not is_fitted or has_length or bool(self.steps or self.epochs)
        for (key, flag), field in zip(FLAGS.items(), fields(self), strict=True):
            value: str | None = getattr(self, field.name)
            if value is None:
                continue
            if flag == "--minutes" and is_limit:
                key = "train.minutes"
            if twice := next((text for text, layer in typed if sets(layer, key)), None):
                raise ConfigError(f"give either {flag} or --set {printable(twice)}: they are the same setting")
            yield keyed_layer(key.split("."), parse_yaml(value, flag).value, flag)


def asked_seed(seed: str | None, *, resume: bool, seeds: int | None, quiet: bool) -> str | None:
    """Return the requested random seed; for `random`, draw one and print it.

    Args:
        seed: as it was typed.
        resume: whether a run is resumed.
        seeds: how many runs are requested, each with its own seed.
        quiet: whether a drawn seed is recorded without printing it.
    Raises:
        ConfigError: where the seed is already fixed by --seeds or by the run that is resumed.
    """
    if seed is not None and seeds is not None:
        raise ConfigError(
            "--seed applies to one run, but --seeds trains several: --set train.seed=N sets the first of their seeds"
        )
    if seed != "random":
        return seed
    if resume:
        raise ConfigError("--seed random draws a new random seed, but a resumed run keeps its own: leave --seed out")
    return str(draw_seed(None if quiet else "repeats this run"))
