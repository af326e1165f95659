"""What a checkpoint and a model in one file have in common: a configuration and a vocabulary, as untrusted data."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pydantic import JsonValue

from charlm.errors import ConfigError, RunError
from charlm.runs.json_records import Flag, Record, Text, from_json_or_none
from charlm.runs.untrusted import parse_json
from charlm.settings.layers import text_layer
from charlm.settings.loading import check_layer
from charlm.settings.schema import Settings
from charlm.text.vocabulary import Vocabulary

MAX_CONFIG_BYTES = 1 << 18
# The size of all code points in UTF-8.
MAX_VOCABULARY_BYTES = 5 << 20


@dataclass(frozen=True, eq=False, kw_only=True)
class Symbols(Record):
    """The symbols of a vocabulary as JSON."""

    characters: Text
    has_unknown: Flag


def symbols_of(vocabulary: Vocabulary) -> Symbols:
    """Return a vocabulary as a record."""
    return Symbols(characters=vocabulary.characters, has_unknown=vocabulary.has_unknown)


def parse_settings(content: bytes, path: Path) -> Settings:
    """Return the configuration in some YAML.

    Args:
        content: the YAML, whose size the caller limits.
        path: where it is from, for messages.
    Raises:
        RunError: if it is not UTF-8, or this charlm does not know it.
    """
    try:
        return check_layer(text_layer(content.decode("utf-8"), str(path)))
    except UnicodeDecodeError as error:
        raise RunError(f"{path} is not UTF-8 text") from error
    except ConfigError as error:
        problems = "; ".join(str(error).split("\n"))
        raise RunError(f"this charlm does not know the checkpoint's configuration: {problems}") from error


def parse_vocabulary(content: bytes, path: Path) -> Vocabulary:
    """Return the vocabulary in some JSON; see `parse_settings`."""
    return vocabulary_of(parse_json(content, path), path)


def vocabulary_of(value: JsonValue, path: Path) -> Vocabulary:
    """Return the vocabulary that a JSON value represents; see `parse_settings`."""
    symbols = from_json_or_none(Symbols, value)
    if symbols is None:
        raise RunError(f"{path} is not a vocabulary")
    characters, has_unknown = symbols.characters, symbols.has_unknown
    if any(first >= second for first, second in pairwise(characters)) or len(characters) + has_unknown < 2:
        raise RunError(f"{path} is not a vocabulary: it must have two or more characters, each once and in order")
    if any("\ud800" <= character <= "\udfff" for character in characters):
        raise RunError(f"{path} is not a vocabulary: half of a surrogate pair is not a character")
    return Vocabulary(characters, has_unknown)
