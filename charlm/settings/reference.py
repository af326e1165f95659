"""Every setting described in words: what it may be, its default and what it does, for people rather than programs."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from pydantic import BaseModel, JsonValue

from charlm.settings.model import OF_CELLS, LossWeights
from charlm.settings.optimizer import OF_AVERAGES, OF_METHODS, OF_SCHEDULES
from charlm.settings.schema import Settings
from charlm.settings.template import inline
from charlm.settings.values import MAX_COUNT, MAX_NUMBER, Period

KINDS = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}
# From here on a bound is a safeguard, and no news to anybody.
HUGE = 1_000_000
# What some settings need: the setting that decides, and the values that they belong to.
NEEDS: dict[str, tuple[str, tuple[str, ...]]] = {
    **{f"model.{name}": ("model.cell", (cell,)) for name, cell in OF_CELLS.items()},
    **{f"optimizer.{name}": ("optimizer.method", methods) for name, methods in OF_METHODS.items()},
    **{f"optimizer.schedule.{name}": ("optimizer.schedule.method", each) for name, each in OF_SCHEDULES.items()},
    **{f"optimizer.average.{name}": ("optimizer.average.method", (each,)) for name, each in OF_AVERAGES.items()},
    "corpus.separator": ("corpus.items", ("separated",)),
    "model.lookahead": ("model.direction", ("bidirectional",)),
    **{f"model.loss_weights.{name}": ("model.direction", ("bidirectional",)) for name in LossWeights.model_fields},
}


@dataclass(frozen=True)
class Entry:
    """One setting in words.

    Args:
        key: its dotted key.
        values: what it may be.
        default: as YAML.
        description: what it does.
        needs: the setting and values that it belongs to; empty where it always counts.
    """

    key: str
    values: str
    default: str
    description: str
    needs: str

    @property
    def meaning(self) -> str:
        """What the setting does, and when it counts."""
        return f"{self.description}. Only with {self.needs}." if self.needs else self.description


@dataclass(frozen=True)
class SectionEntry:
    """A section with its settings.

    Args:
        key: its dotted key.
        description: what its settings are about.
        settings: those directly in it, in the order of the schema.
    """

    key: str
    description: str
    settings: tuple[Entry, ...]


@cache
def reference() -> tuple[SectionEntry, ...]:
    """Return every section of the configuration with its settings; nested sections follow the one that they are in.

    Example:
        >>> reference()[0].key, reference()[0].settings[0].key
        ('corpus', 'corpus.name')
    """
    return tuple(_sections(Settings(), ""))


def entries() -> dict[str, Entry]:
    """Return every setting by its dotted key."""
    return {entry.key: entry for section in reference() for entry in section.settings}


def _sections(section: BaseModel, key: str) -> Iterator[SectionEntry]:
    nested: list[tuple[str, BaseModel]] = []
    settings: list[Entry] = []
    shapes = _properties(type(section))
    plain = section.model_dump(mode="json")
    for name, field in type(section).model_fields.items():
        value, dotted = getattr(section, name), f"{key}.{name}".lstrip(".")
        if isinstance(value, BaseModel) and not isinstance(value, Period):
            nested.append((dotted, value))
            continue
        decider, values = NEEDS.get(dotted, ("", ()))
        needs = f"{decider} {_either(values)}" if decider else ""
        described = (field.description or "").rstrip(".")
        settings.append(Entry(dotted, _values(shapes[name]), inline(plain[name]), described, needs))
    if settings:
        yield SectionEntry(key, inspect.cleandoc(type(section).__doc__ or ""), tuple(settings))
    for dotted, value in nested:
        yield from _sections(value, dotted)


def _properties(section: type[BaseModel]) -> Mapping[str, JsonValue]:
    """Return the JSON schema of each setting of a section, whichever short forms the section itself has."""
    schema: dict[str, JsonValue] = section.model_json_schema()
    shorter = schema.get("anyOf")
    for shape in (schema, *(shorter if isinstance(shorter, list) else ())):
        if isinstance(shape, dict) and isinstance(found := shape.get("properties"), dict):
            return found
    return {}


def _values(schema: JsonValue) -> str:
    """Return what a value may be, in words, from its JSON schema."""
    assert isinstance(schema, dict)
    if "$ref" in schema:
        # The only section that is a value is a period.
        return "a number of steps, or {epochs: N}"
    if isinstance(members := schema.get("anyOf"), list):
        return _either([_values(member) for member in members])
    if isinstance(choices := schema.get("enum", [schema["const"]] if "const" in schema else None), list):
        return _either([str(choice) for choice in choices])
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("items")
        assert isinstance(items, dict)
        return f"a list of {'texts' if items.get('type') == 'string' else 'numbers'}"
    assert isinstance(kind, str)
    return "null" if kind == "null" else KINDS[kind] + _bounds(schema)


def _bounds(schema: Mapping[str, JsonValue]) -> str:
    """Return the bounds of a number in words, with a comma before them; nothing for those that only guard."""
    low = _number(schema, "minimum", "at least {}") or _number(schema, "exclusiveMinimum", "above {}")
    high = _number(schema, "maximum", "at most {}") or _number(schema, "exclusiveMaximum", "below {}")
    words = [each for each in (low, high) if each]
    return f", {' and '.join(words)}" if words else ""


def _number(schema: Mapping[str, JsonValue], key: str, words: str) -> str:
    value = schema.get(key)
    if not isinstance(value, int | float) or abs(value) > HUGE or value in (MAX_COUNT, MAX_NUMBER):
        return ""
    return words.format(f"{value:,g}" if isinstance(value, float) else f"{value:,}")


def _either(words: Collection[str]) -> str:
    *first, last = dict.fromkeys(words)
    comma = "," if any("," in word for word in first) else ""
    return f"{', '.join(first)}{comma} or {last}" if first else last
