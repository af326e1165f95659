"""A strict YAML reader that records the place of every value, and a writer whose output it reads back unchanged.

PyYAML alone takes `1e-3` for a text, `no` for false and `010` for 8, and lets the second of two equal keys win. This
reader keeps PyYAML's parser but interprets scalars itself, by YAML 1.2's core schema. Anchors, tags and duplicate keys
are errors. No other module imports yaml.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import yaml
from pydantic import JsonValue
from yaml.reader import ReaderError

from charlm.errors import ConfigError, printable

MAX_CHARS = 1_000_000
MAX_DEPTH = 16
MAX_VALUES = 20_000
MAX_KEPT_CHARS, MAX_KEPT = 20_000, 16

SURROGATES = re.compile("[\ud800-\udfff]")

SCALARS = {
    "null": re.compile(r"^(~|null|Null|NULL|)$"),
    "bool": re.compile(r"^(true|True|TRUE|false|False|FALSE)$"),
    "int": re.compile(r"^([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"),
    "float": re.compile(
        r"^([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
}

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Place:
    """Where a value was set: a file and its line, or an option of the command line (line 0)."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


@dataclass(frozen=True)
class Document:
    """A parsed document: plain Python values, and the place of each by its path of keys."""

    value: JsonValue
    places: dict[KeyPath, Place]


def parse_yaml(text: str, source: str) -> Document:
    """Parse one YAML document strictly; each call returns new values.

    Args:
        text: the document.
        source: its name in error messages.
    Raises:
        ConfigError: naming file, line and column of whatever is not plain, unambiguous YAML.
    """
    if len(text) > MAX_CHARS:
        raise ConfigError(f"{source}: longer than {MAX_CHARS:,} characters, too long for a configuration")
    if len(text) > MAX_KEPT_CHARS:
        return _parse(text, source)
    document = _parse_once(text, source)
    return Document(deepcopy(document.value), dict(document.places))


def _parse(text: str, source: str) -> Document:
    places: dict[KeyPath, Place] = {}
    try:
        events = cast("Iterator[yaml.Event]", yaml.parse(text, Loader=yaml.SafeLoader))
        value = _document(_Reader(events, source, places))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        raise ConfigError(f"{where}: not valid YAML: {printable(error.problem or error.context or '', 200)}") from error
    except ReaderError as error:
        # The only error without a line: a character that YAML forbids.
        before = text[: error.position].split("\n")
        where = f"{source}:{len(before)}:{len(before[-1]) + 1}"
        raise ConfigError(f"{where}: not valid YAML: the character U+{error.character:04X} is not allowed") from error
    return Document(value, places)


# A command reads a run's configuration up to three times, and PyYAML takes milliseconds for it.
_parse_once = lru_cache(MAX_KEPT)(_parse)


@dataclass(frozen=True)
class _Reader:
    events: Iterator[yaml.Event]
    source: str
    places: dict[KeyPath, Place]

    def fail(self, event: yaml.Event, message: str) -> ConfigError:
        """Return the error that says where an event is and what is wrong with it."""
        mark = event.start_mark
        return ConfigError(f"{self.source}:{mark.line + 1}:{mark.column + 1}: {message}")


def _document(reader: _Reader) -> JsonValue:
    value: JsonValue = None
    num_documents = 0
    for event in reader.events:
        if isinstance(event, yaml.DocumentStartEvent):
            num_documents += 1
            if num_documents > 1:
                raise reader.fail(event, "a second document begins here; a configuration is a single one")
        elif isinstance(event, yaml.NodeEvent):
            value = _node(reader, event, ())
    return value


def _node(reader: _Reader, event: yaml.Event, path: KeyPath) -> JsonValue:
    if len(path) > MAX_DEPTH:
        raise reader.fail(event, f"nested deeper than {MAX_DEPTH} levels")
    if len(reader.places) > MAX_VALUES:
        raise reader.fail(event, f"more than {MAX_VALUES:,} values, too many for a configuration")
    _refuse_what_is_not_plain(reader, event)
    reader.places[path] = Place(reader.source, event.start_mark.line + 1)
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event.value) if event.implicit[0] else event.value
    return _mapping(reader, path) if isinstance(event, yaml.MappingStartEvent) else _sequence(reader, path)


def _refuse_what_is_not_plain(reader: _Reader, event: yaml.Event) -> None:
    if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
        raise reader.fail(event, "anchors and aliases are not allowed; write the value out")
    if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
        raise reader.fail(event, f"the tag {printable(event.tag)} is not allowed")
    if isinstance(event, yaml.ScalarEvent) and (found := SURROGATES.search(event.value)):
        raise reader.fail(event, f"U+{ord(found[0]):04X} is half of a character and cannot be written to a file")


def _mapping(reader: _Reader, path: KeyPath) -> dict[str, JsonValue]:
    values: dict[str, JsonValue] = {}
    for event in reader.events:
        if isinstance(event, yaml.MappingEndEvent):
            break
        if not isinstance(event, yaml.ScalarEvent):
            raise reader.fail(event, "a key must be a plain word")
        _refuse_what_is_not_plain(reader, event)
        key = event.value
        if key in values:
            raise reader.fail(event, f"the key {printable(key)} is given twice")
        values[key] = _node(reader, next(reader.events), (*path, key))
        # People look at the line of the key, even if the value is a block below it.
        reader.places[(*path, key)] = Place(reader.source, event.start_mark.line + 1)
    return values


def _sequence(reader: _Reader, path: KeyPath) -> list[JsonValue]:
    values: list[JsonValue] = []
    for event in reader.events:
        if isinstance(event, yaml.SequenceEndEvent):
            break
        values.append(_node(reader, event, (*path, len(values))))
    return values


def _scalar(text: str) -> JsonValue:
    if SCALARS["null"].match(text):
        return None
    if SCALARS["bool"].match(text):
        return text.lower() == "true"
    if SCALARS["int"].match(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        # Python refuses to convert very many digits, and nobody means such a number.
        return int(text, base) if len(text) < 100 else text
    if SCALARS["float"].match(text):
        return float(text.lower().replace(".i", "i").replace(".n", "n"))
    return text


class _Dumper(yaml.SafeDumper):
    """PyYAML's writer, which also quotes texts that YAML 1.2 would read as numbers."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # PyYAML reads back these line ends as \n or a space unless they are escaped.
    style = '"' if re.search("[\x85\u2028\u2029]", text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
for _tag in ("null", "bool", "int", "float"):
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", SCALARS[_tag], None)


def dump_yaml(values: dict[str, JsonValue]) -> str:
    """Return plain values as YAML that `parse_yaml` reads back unchanged."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
