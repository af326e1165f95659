"""Sentences that say what is wrong with a configuration: dotted key, value, what is allowed, nearest key, place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from charlm.errors import printable
from charlm.settings.nearest import did_you_mean, nearest_choice, nearest_dotted
from charlm.settings.schema import Settings
from charlm.settings.strict_yaml import KeyPath, Place
from charlm.settings.values import DEVICE_NAMES

MAX_PROBLEMS = 20
# A longer key is not a misspelling of one of ours.
MAX_KEY = 100
COMPARISONS = {
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
}
KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "model_type": "a mapping of keys",
    "dict_type": "a mapping of keys",
    "finite_number": "a finite number",
}


def explain(error: ValidationError, places: dict[KeyPath, Place], schema: type[BaseModel] = Settings) -> list[str]:
    """Return one sentence for each problem, ordered by place; if there are very many, return only the first ones.

    Args:
        error: what pydantic found.
        places: where each value was set.
        schema: what the values were checked against; its keys are the known ones.
    """
    problems: dict[KeyPath, tuple[Place | None, Callable[[], str]]] = {}
    for detail in error.errors(include_url=False):
        for path, sentence in _sentences(detail, schema):
            # A union reports a problem for each of its members; the first one is enough.
            problems.setdefault(path, (_place(path, places), sentence))
    ordered = sorted(problems.values(), key=lambda problem: (str(problem[0] and problem[0].source), _line(problem[0])))
    shown = [f"{sentence()} ({place})" if place else sentence() for place, sentence in ordered[:MAX_PROBLEMS]]
    return [*shown, f"and {len(ordered) - MAX_PROBLEMS:,} more problems"] if len(ordered) > MAX_PROBLEMS else shown


def known_keys(schema: type[BaseModel] = Settings) -> list[str]:
    """Return every dotted key of the configuration, or of another schema, sections included."""
    return list(_known_keys(schema))


def nearest_key(dotted: str, schema: type[BaseModel] = Settings) -> str | None:
    """Return the known key that a wrong one was probably meant to be, or None if nothing is similar.

    Example:
        >>> nearest_key("lr"), nearest_key("model.hiddenSize")
        ('optimizer.learning_rate', 'model.hidden_size')
    """
    return nearest_dotted(dotted, _known_keys(schema))


@cache
def _known_keys(schema: type[BaseModel]) -> tuple[str, ...]:
    return tuple(sorted(_keys(schema, "")))


def _keys(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        for candidate in (field.annotation, *get_args(field.annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                yield from _keys(candidate, f"{prefix}{name}.")


def _sentences(detail: ErrorDetails, schema: type[BaseModel]) -> Iterator[tuple[KeyPath, Callable[[], str]]]:
    """Yield the path of each problem and a function that makes its sentence; of 10,000, most are never shown."""
    if detail["type"] == "conflict":
        for key, reason in detail.get("ctx", {})["problems"]:
            yield tuple(key.split(".")), partial(str.format, "{} {}", key, reason)
    elif detail["type"] == "missing":
        yield detail["loc"], partial(str.format, "{} is missing", ".".join(map(str, detail["loc"])))
    elif detail["type"] == "extra_forbidden":
        yield detail["loc"], partial(_unknown_key, detail["loc"], schema)
    else:
        path = _key_path(detail["loc"], schema)
        yield path, partial(_bad_value, path, detail)


def _bad_value(path: KeyPath, detail: ErrorDetails) -> str:
    subject = printable(".".join(str(key) for key in path), MAX_KEY) if path else "the configuration"
    requirement = _requirement(detail, detail.get("ctx", {}))
    return f"{subject} {requirement}, got {_shown(detail['input'])}{did_you_mean(_meant(subject, detail))}"


def _meant(subject: str, detail: ErrorDetails) -> str | None:
    """Return the choice that a wrong text was probably meant to be, or a section's `method` that was left out."""
    given = detail["input"]
    if not isinstance(given, str):
        return None
    if detail["type"] == "model_type":
        return f"{subject}.method={printable(given)}" if f"{subject}.method" in known_keys() else None
    context = detail.get("ctx", {})
    choices = {
        "literal_error": re.findall("'([^']*)'", context.get("expected", "")),
        "split": context.get("names", "").split(", "),
        "string_pattern_mismatch": DEVICE_NAMES,
    }
    return nearest_choice(given, choices.get(detail["type"], ()))


def _unknown_key(path: KeyPath, schema: type[BaseModel]) -> str:
    dotted = ".".join(str(key) for key in path)
    near = nearest_key(dotted, schema)
    if near == dotted:
        section, _, name = dotted.rpartition(".")
        return f"unknown key {dotted}; keys are nested: {section}: {{{name}: ...}}"
    return f"unknown key {printable(dotted, MAX_KEY)}{did_you_mean(near)}"


def _requirement(detail: ErrorDetails, context: dict[str, Any]) -> str:
    kind = detail["type"]
    if kind in COMPARISONS:
        return "must be " + COMPARISONS[kind].format(**context)
    if kind == "literal_error":
        return f"must be one of {context['expected'].replace(' or ', ', ')}"
    if kind == "string_pattern_mismatch":
        return f"must be {', '.join(DEVICE_NAMES)} or cuda:N"
    if kind == "string_type" and isinstance(detail["input"], bool | int | float):
        return "must be text (put quotes around it)"
    return f"must be {KINDS[kind]}" if kind in KINDS else str(detail["msg"])


def _key_path(location: tuple[str | int, ...], schema: type[BaseModel]) -> KeyPath:
    """Remove what pydantic appends for the members of a union, which are not keys of ours."""
    path: list[str | int] = []
    known = known_keys(schema)
    for part in location:
        dotted = ".".join(str(key) for key in [*path, part])
        parent = ".".join(str(key) for key in path)
        is_section = not path or any(key.startswith(f"{parent}.") for key in known)
        if isinstance(part, int) or dotted in known or (is_section and part.isidentifier()):
            path.append(part)
    return tuple(path)


def _place(path: KeyPath, places: dict[KeyPath, Place]) -> Place | None:
    for depth in range(len(path), 0, -1):
        if path[:depth] in places:
            return places[path[:depth]]
    return None


def _line(place: Place | None) -> int:
    return place.line if place else 0


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
