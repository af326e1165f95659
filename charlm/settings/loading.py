"""Turn configuration files and `--set` options into one checked configuration, and write it back as YAML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from pydantic import JsonValue, ValidationError

from charlm.errors import ConfigError, printable
from charlm.settings.diagnosis import explain
from charlm.settings.layers import QUICKSTART, SettingsLayer, file_layer, merge, override_layer, shipped_layer, value_at
from charlm.settings.schema import Settings
from charlm.settings.strict_yaml import dump_yaml


def load_settings(
    *files: str | Path, overrides: Sequence[str | SettingsLayer] = (), layers: Sequence[SettingsLayer] = ()
) -> Settings:
    """Load a configuration; without a file or a corpus, load the quick start.

    Args:
        files: YAML files, or names of bundled configurations such as `lyrics-gru`; later ones win.
        overrides: texts `section.key=value`, or layers; they win over the files.
        layers: further layers, which win over the files and lose to the overrides.
    Raises:
        ConfigError: naming every problem at once, each with its place, the value and what is allowed.

    Example:
        >>> settings = charlm.load_settings("quickstart", overrides=["model.cell=lstm"])
        >>> settings.model.cell, settings.model.num_layers
        ('lstm', 2)
    """
    later = [*layers, *map(override_layer, overrides)]
    earlier = [file_layer(file) for file in files]
    if not files and not any(names_corpus(layer) for layer in later):
        if (run := value_at(merge(later).values, ("start", "run"))) is not None:
            # The quick start's text and network would hardly be what is meant.
            raise ConfigError(
                f"training on from the run {printable(str(run))} needs a text: charlm train more.txt --from "
                f"{printable(str(run))}; to train it longer on its own text, resume it: charlm train --resume"
            )
        earlier = [shipped_layer(QUICKSTART)]
    return check_layer(merge([*earlier, *later]))


def load_run_settings(path: Path) -> Settings:
    """Load the resolved configuration from a run folder or checkpoint."""
    return check_layer(file_layer(path))


def check_layer(layer: SettingsLayer) -> Settings:
    """Turn values into settings.

    Raises:
        ConfigError: naming each problem on a line.
    """
    try:
        return Settings.model_validate(layer.values)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, layer.places))) from error


def dump_settings(settings: Settings) -> str:
    """Return settings as YAML with every default spelled out; loading it gives equal settings."""
    return _yaml_of(settings.model_dump_json())


@lru_cache(maxsize=2)
def _yaml_of(values: str) -> str:
    # Each checkpoint of a run holds the same settings, and PyYAML takes milliseconds to write them.
    return dump_yaml(json.loads(values))


def dotted_values(settings: Settings, *, only_written: bool = False) -> dict[str, JsonValue]:
    """Return every setting by its dotted key, as plain values.

    Args:
        only_written: leave out settings that nobody has set.
    """
    return dict(_dotted(settings.model_dump(mode="json", exclude_unset=only_written), ""))


def names_corpus(layer: SettingsLayer) -> bool:
    """Say whether a layer names a corpus."""
    return any(value_at(layer.values, ("corpus", key)) is not None for key in ("name", "path"))


def _dotted(values: dict[str, JsonValue], prefix: str) -> Iterator[tuple[str, JsonValue]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
