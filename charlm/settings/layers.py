"""Layers of settings from files and options; each value knows its place, and later layers win."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from charlm.errors import ConfigError, printable
from charlm.settings.nearest import did_you_mean, nearest_file
from charlm.settings.shipped import shipped_folder
from charlm.settings.strict_yaml import (
    MAX_CHARS,
    MAX_DEPTH,
    SURROGATES,
    Document,
    KeyPath,
    Place,
    parse_yaml,
)

QUICKSTART = "quickstart"
# The most bytes that the reader's limit in characters can take.
MAX_BYTES = 4 * MAX_CHARS
MAX_NAME = 1_000
PERIODS = (
    ("train", "eval_every"),
    ("sample", "every"),
    ("optimizer", "schedule", "every"),
    ("checkpoint", "keep_every"),
)
# A later layer that sets one of a pair removes the other from earlier layers.
EXCLUSIVE = (
    (("corpus", "name"), ("corpus", "path")),
    *(((*period, "steps"), (*period, "epochs")) for period in PERIODS),
    *((("train", "fit_minutes"), ("train", budget)) for budget in ("epochs", "max_steps")),
)
# A later layer that sets the first removes the second, which describes a run of another length, and not the reverse.
OUTDATING = (
    *((("train", budget), ("train", "refits")) for budget in ("fit_minutes", "epochs", "max_steps")),
    (("train", "fit_minutes"), ("optimizer", "schedule", "total_steps")),
)


@dataclass(frozen=True)
class SettingsLayer:
    """One source of settings: nested values, and the place of each."""

    values: dict[str, JsonValue]
    places: dict[KeyPath, Place]


def file_layer(file: str | Path) -> SettingsLayer:
    """Read a YAML file, or a bundled configuration by its name; relative corpus paths start from the file's folder."""
    path = Path(file)
    if str(file) in shipped_names() and not path.exists():
        return shipped_layer(str(file))
    return _layer(read_document(file, "configuration", shipped=shipped_names()), base=path.parent)


def read_document(file: str | Path, kind: str, *, shipped: Sequence[str]) -> Document:
    """Parse a YAML file.

    Args:
        file: where it is.
        kind: what messages call it.
        shipped: the names of the bundled files of this kind.
    Raises:
        ConfigError: if it cannot be read, or is not YAML.
    """
    name = printable(str(file), MAX_NAME)
    try:
        text = _read_content(Path(file), name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not UTF-8 text (byte {error.start})") from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        near = nearest_file(Path(file), suffixes=(".yaml", ".yml"), names=shipped)
        remedy = did_you_mean(near and printable(near, MAX_NAME)) or f"; the bundled ones are {', '.join(shipped)}"
        raise ConfigError(f"cannot read the {kind} {name}: {reason.lower()}{remedy}") from error
    return parse_yaml(text, name)


def text_layer(text: str, source: str) -> SettingsLayer:
    """Read the text of a configuration; messages call it `source`, and relative paths start from the current folder."""
    return _layer(parse_yaml(text, source), base=Path())


def shipped_names() -> list[str]:
    """Return the names of the bundled configurations."""
    return sorted(entry.name[:-5] for entry in shipped_folder("configs").iterdir() if entry.name.endswith(".yaml"))


def shipped_layer(name: str) -> SettingsLayer:
    """Read the bundled configuration of that name."""
    text = (shipped_folder("configs") / f"{name}.yaml").read_text(encoding="utf-8")
    return text_layer(text, f"configs/{name}.yaml")


def override_layer(text: str | SettingsLayer) -> SettingsLayer:
    """Read one `section.key=value`, whose value is parsed as YAML; return a layer unchanged."""
    if isinstance(text, SettingsLayer):
        return text
    key, equals, value = text.partition("=")
    path = tuple(key.strip().split("."))
    source = f"--set {printable(text)}"
    if not equals or not all(path):
        raise ConfigError(f"{source}: must look like section.key=value, such as model.hidden_size=128")
    if len(path) > MAX_DEPTH or SURROGATES.search(key):
        raise ConfigError(f"unknown key {printable(key.strip())} ({source})")
    return keyed_layer(path, parse_yaml(value, source).value, source)


def keyed_layer(path: Sequence[str], value: JsonValue, source: str, *, base: Path = Path()) -> SettingsLayer:
    """Wrap one value at a path of keys; messages call it `source`, and relative paths start from `base`.

    Raises:
        ConfigError: for a text that UTF-8 cannot encode, such as a file name that is not UTF-8.
    """
    if found := next(_torn_texts(value), None):
        raise ConfigError(
            f"{source}: {printable(found)} is not UTF-8 and cannot be written in a configuration; rename it"
        )
    values: dict[str, JsonValue] = {path[-1]: value}
    for key in reversed(path[:-1]):
        values = {key: values}
    places: dict[KeyPath, Place] = {tuple(path[:depth]): Place(source) for depth in range(len(path) + 1)}
    return SettingsLayer(_with_absolute_paths(values, base), places)


def merge(layers: Sequence[SettingsLayer]) -> SettingsLayer:
    """Merge layers key by key; later ones win."""
    values: dict[str, JsonValue] = {}
    places: dict[KeyPath, Place] = {}
    for layer in layers:
        for mine, other in (*EXCLUSIVE, *(pair[::-1] for pair in EXCLUSIVE), *OUTDATING):
            if value_at(layer.values, mine) is not None and value_at(layer.values, other) is None:
                _drop(values, other)
        _overlay(values, layer.values)
        places = _placed_anew(places, layer.places)
    return SettingsLayer(values, places)


def _layer(document: Document, base: Path) -> SettingsLayer:
    if document.value is None:
        return SettingsLayer({}, {})
    if not isinstance(document.value, dict):
        raise ConfigError(f"{document.places[()]}: a configuration is a mapping of sections such as model:")
    return SettingsLayer(_with_absolute_paths(document.value, base), document.places)


def _with_absolute_paths(values: dict[str, JsonValue], base: Path) -> dict[str, JsonValue]:
    corpus, path = values.get("corpus"), value_at(values, ("corpus", "path"))
    paths = [path] if isinstance(path, str) else path
    if not isinstance(corpus, dict) or not isinstance(paths, list):
        return values
    absolute: list[JsonValue] = [_absolute(each, base) if isinstance(each, str) else each for each in paths]
    return {**values, "corpus": {**corpus, "path": absolute}}


def _absolute(entry: str, base: Path) -> str:
    # An empty name must stay empty: as a path it would be the folder `base` itself.
    if entry in ("-", ""):
        return entry
    # Unlike Path.expanduser this leaves a file called ~draft.txt alone. expanduser fails on a zero byte; whoever
    # opens such a name reports it.
    expanded = entry if "\0" in entry else os.path.expanduser(entry)  # noqa: PTH111
    return str((base / expanded).absolute())


def _read_content(path: Path, name: str) -> bytes:
    """Read a configuration file, but never more than a configuration can have; messages call it `name`.

    Raises:
        ConfigError: if it is not a regular file, or too long.
        OSError: if it cannot be read.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ConfigError(f"the configuration {name} is a pipe or a device: name a file")
    with path.open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{name}: longer than {MAX_BYTES:,} bytes, too long for a configuration")
    return content


def _torn_texts(value: JsonValue) -> Iterator[str]:
    """Yield the texts within a value that UTF-8 cannot encode."""
    if isinstance(value, str) and SURROGATES.search(value):
        yield value
    elif isinstance(value, list):
        for entry in value:
            yield from _torn_texts(entry)


def value_at(values: dict[str, JsonValue], path: Sequence[str]) -> JsonValue:
    """Return the value at a path of keys, or None where there is none."""
    value: JsonValue = values
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def sets(layer: SettingsLayer, key: str) -> bool:
    """Say whether a layer sets a key, a key below it, or something in place of the section that it is in."""
    value: JsonValue = layer.values
    for part in key.split("."):
        if not isinstance(value, dict):
            return True
        if part not in value:
            return False
        value = value[part]
    return True


def _drop(values: dict[str, JsonValue], path: Sequence[str]) -> None:
    parent = value_at(values, path[:-1])
    if isinstance(parent, dict):
        parent.pop(path[-1], None)


def _overlay(below: dict[str, JsonValue], above: dict[str, JsonValue]) -> None:
    for key, value in above.items():
        beneath = below.get(key)
        if isinstance(beneath, dict) and isinstance(value, dict):
            _overlay(beneath, value)
        else:
            below[key] = _copied(value)


def _placed_anew(below: dict[KeyPath, Place], above: dict[KeyPath, Place]) -> dict[KeyPath, Place]:
    """Merge places; a value that is set as a whole replaces the places of everything that was inside it."""
    parents = {path[:depth] for path in above for depth in range(len(path))}
    leaves = above.keys() - parents
    kept = {
        path: place
        for path, place in below.items()
        if not any(path[:depth] in leaves for depth in range(len(path) + 1))
    }
    return kept | above


def _copied(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _copied(entry) for key, entry in value.items()}
    return value
