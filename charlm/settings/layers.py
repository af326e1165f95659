"""From configuration files and `--set` options to one checked configuration; later layers win."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from charlm.errors import ConfigError
from charlm.settings.diagnosis import explain
from charlm.settings.loading import Document, KeyPath, Place, dump_yaml, parse_yaml
from charlm.settings.schema import Settings
from charlm.settings.shipped import shipped_folder

QUICKSTART = "quickstart"
PERIODS = (
    ("train", "eval_every"),
    ("sample", "every"),
    ("optimizer", "schedule", "every"),
    ("checkpoint", "keep_every"),
)
# A later layer that sets one of a pair removes what an earlier layer said of the other.
EXCLUSIVE = (
    (("corpus", "name"), ("corpus", "path")),
    *(((*period, "steps"), (*period, "epochs")) for period in PERIODS),
)


@dataclass(frozen=True)
class Layer:
    """One source of settings: nested values and the place of each."""

    values: dict[str, Any]
    places: dict[KeyPath, Place]


def load_settings(*files: str | Path, overrides: Sequence[str] = (), layers: Sequence[Layer] = ()) -> Settings:
    """Load a configuration; without a file and without a corpus, the quick start.

    Args:
        files: YAML files, or names of shipped configurations such as `lyrics-gru`; later ones win.
        overrides: texts `section.key=value`, stronger than the files.
        layers: further layers, between the files and the overrides.
    Raises:
        ConfigError: every problem at once, each with its place, the value and what is allowed.
    """
    later = [*layers, *(override_layer(text) for text in overrides)]
    earlier = [file_layer(file) for file in files]
    if not files and not any(_names_corpus(layer) for layer in later):
        earlier = [shipped_layer(QUICKSTART)]
    return check_layer(merge([*earlier, *later]))


def load_run_settings(path: Path) -> Settings:
    """Load the resolved configuration that stands in a run folder or checkpoint."""
    return check_layer(file_layer(path))


def file_layer(file: str | Path) -> Layer:
    """Read a YAML file, or a shipped configuration by its name; relative corpus paths start from the file."""
    path = Path(file)
    if str(file) in shipped_names() and not path.exists():
        return shipped_layer(str(file))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        shipped = ", ".join(shipped_names())
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"cannot read the configuration {file}: {reason}; shipped ones by name: {shipped}") from error
    return _layer(parse_yaml(text, str(file)), base=path.parent)


def text_layer(text: str, source: str) -> Layer:
    """Read a configuration's text; `source` names it in messages, relative paths start from here."""
    return _layer(parse_yaml(text, source), base=Path())


def shipped_names() -> list[str]:
    """Return the names of the configurations that come with the package."""
    return sorted(entry.name[:-5] for entry in shipped_folder("configs").iterdir() if entry.name.endswith(".yaml"))


def shipped_layer(name: str) -> Layer:
    """Read the shipped configuration of that name."""
    text = (shipped_folder("configs") / f"{name}.yaml").read_text(encoding="utf-8")
    return text_layer(text, f"configs/{name}.yaml")


def override_layer(text: str) -> Layer:
    """Read one `section.key=value`; the value goes through the YAML parser."""
    key, equals, value = text.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise ConfigError(f"--set {text}: must look like section.key=value, such as model.hidden_size=128")
    return keyed_layer(path, parse_yaml(value, f"--set {text}").value, f"--set {text}")


def keyed_layer(path: Sequence[str], value: Any, source: str) -> Layer:
    """Wrap one value at a path of keys; `source` names it in messages, relative paths start from here."""
    values: Any = value
    for key in reversed(path):
        values = {key: values}
    places: dict[KeyPath, Place] = {tuple(path[:depth]): Place(source) for depth in range(len(path) + 1)}
    return Layer(_with_absolute_paths(values, Path()), places)


def merge(layers: Sequence[Layer]) -> Layer:
    """Lay later layers over earlier ones, key by key."""
    values: dict[str, Any] = {}
    places: dict[KeyPath, Place] = {}
    for layer in layers:
        for mine, other in (*EXCLUSIVE, *(pair[::-1] for pair in EXCLUSIVE)):
            if _get(layer.values, mine) is not None and _get(layer.values, other) is None:
                _drop(values, other)
        _overlay(values, layer.values)
        places = _placed_anew(places, layer.places)
    return Layer(values, places)


def check_layer(layer: Layer) -> Settings:
    """Turn values into settings.

    Raises:
        ConfigError: with one line for each problem.
    """
    try:
        return Settings.model_validate(layer.values)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, layer.places))) from error


def dump_settings(settings: Settings) -> str:
    """Write settings as YAML, every default spelled out; loading it gives equal settings."""
    return dump_yaml(settings.model_dump(mode="json"))


def _layer(document: Document, base: Path) -> Layer:
    if document.value is None:
        return Layer({}, {})
    if not isinstance(document.value, dict):
        raise ConfigError(f"{document.places[()]}: a configuration is a mapping of sections such as model:")
    return Layer(_with_absolute_paths(cast("dict[str, Any]", document.value), base), document.places)


def _with_absolute_paths(values: dict[str, Any], base: Path) -> dict[str, Any]:
    path = _get(values, ("corpus", "path"))
    if isinstance(path, str):
        path = [path]
    if not isinstance(path, list) or not all(isinstance(entry, str) for entry in cast("list[Any]", path)):
        return values
    entries = cast("list[str]", path)
    absolute = [entry if entry == "-" else _absolute(entry, base) for entry in entries]
    return values | {"corpus": values["corpus"] | {"path": absolute}}


def _absolute(entry: str, base: Path) -> str:
    # Unlike Path.expanduser this leaves a file called ~draft.txt alone.
    return str((base / os.path.expanduser(entry)).absolute())  # noqa: PTH111


def _names_corpus(layer: Layer) -> bool:
    return any(_get(layer.values, ("corpus", key)) is not None for key in ("name", "path"))


def _get(values: dict[str, Any], path: Sequence[str]) -> Any:
    value: Any = values
    for key in path:
        value = cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None
    return value


def _drop(values: dict[str, Any], path: Sequence[str]) -> None:
    parent = _get(values, path[:-1])
    if isinstance(parent, dict):
        cast("dict[str, Any]", parent).pop(path[-1], None)


def _overlay(below: dict[str, Any], above: dict[str, Any]) -> None:
    for key, value in above.items():
        beneath = below.get(key)
        if isinstance(beneath, dict) and isinstance(value, dict):
            _overlay(cast("dict[str, Any]", beneath), cast("dict[str, Any]", value))
        else:
            below[key] = _copied(value)


def _placed_anew(below: dict[KeyPath, Place], above: dict[KeyPath, Place]) -> dict[KeyPath, Place]:
    """Lay places over one another: what an option sets as a whole has its place, whatever stood inside before."""
    leaves = [path for path in above if not any(other[: len(path)] == path != other for other in above)]
    kept = {path: place for path, place in below.items() if not any(path[: len(leaf)] == leaf for leaf in leaves)}
    return kept | above


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(entry) for key, entry in cast("dict[str, Any]", value).items()}
    return value
