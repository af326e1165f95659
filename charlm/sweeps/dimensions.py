"""Turn the values under `space` into dimensions; report every problem with its place and the nearest known name."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import JsonValue

from charlm.errors import printable
from charlm.runs.json_records import as_object
from charlm.settings.diagnosis import known_keys, nearest_key
from charlm.settings.nearest import did_you_mean
from charlm.settings.schema import Settings
from charlm.settings.strict_yaml import KeyPath, Place
from charlm.sweeps.space import (
    SCALES,
    Dimension,
    Options,
    Point,
    Range,
    Scale,
    Setting,
    Space,
    is_number,
    values_text,
)

Problem = tuple[Place, str]
# Settings that no point may set, and what sets them instead.
TAKEN = {
    "train.seed": "is set by seeds: how many there are",
    "train.threads": "is set by --jobs: the cores are divided among them",
}


def overlap(key: str, other: str) -> bool:
    """Return whether two keys are the same setting, or one contains the other, as train.eval_every contains epochs."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def is_count(key: str) -> bool:
    """Return whether a setting is a whole number."""
    kind: Any = Settings
    for name in key.split("."):
        # If the setting may also be null, its type is the first of the two.
        schema = kind if hasattr(kind, "model_fields") else get_args(kind)[0]
        kind = schema.model_fields[name].annotation
    return kind is int or int in (optional := get_args(kind)[:1]) or int in get_args(next(iter(optional), None))


def read_space(values: Mapping[str, JsonValue], places: Mapping[KeyPath, Place]) -> tuple[Space, list[Problem]]:
    """Return the space of a sweep file, and each problem with its place; if there are problems, it is incomplete.

    Args:
        values: the values under `space`.
        places: the places of the whole file.
    """
    dimensions: list[Dimension] = []
    problems: list[Problem] = []
    owners: dict[str, str] = {}
    for name, value in values.items():
        place = places[("space", name)]
        dimension = _dimension(name, value, places, problems)
        if dimension is None:
            continue
        for key in dimension.keys:
            for other in (owners[each] for each in owners if overlap(each, key)):
                problems.append((place, f"space.{name} varies {key}, and so does space.{other}: keep one"))
        owners |= dict.fromkeys(dimension.keys, name)
        dimensions.append(dimension)
    return Space(tuple(dimensions)), problems


def _dimension(
    name: str, value: JsonValue, places: Mapping[KeyPath, Place], problems: list[Problem]
) -> Dimension | None:
    """Return a dimension, or None after adding what is wrong with it to the problems."""
    place, before = places[("space", name)], len(problems)
    shown = printable(name)
    entries = value if isinstance(value, list) else []
    bundle = [entry for entry in entries if isinstance(entry, dict)]
    is_bundle = "." not in name and bool(entries) and len(bundle) == len(entries)
    if not is_bundle:
        problems += [(place, reason) for reason in _key_problems(name, value)]
    if isinstance(value, dict):
        found = _range(name, value, place) if len(problems) == before else None
        if isinstance(found, str):
            problems.append((place, found))
        return found if isinstance(found, Range) else None
    if not entries:
        problems.append(
            (
                place,
                f"space.{shown} must be a list of values, or one of {{log: [a, b]}}, {{uniform: [a, b]}} "
                f"and {{int: [a, b]}}, got {printable(str(value))}",
            )
        )
        return None
    options: dict[str, Point] = {}
    for number, entry in enumerate(entries):
        where = places[("space", name, number)]
        settings = bundle[number] if is_bundle else {name: entry}
        if is_bundle:
            problems += [
                (places[("space", name, number, key)], reason)
                for key, each in settings.items()
                for reason in _key_problems(key, each)
            ]
        point = tuple(
            Setting(key, each, places.get(("space", name, number, key), where)) for key, each in settings.items()
        )
        if options.setdefault(values_text(point), point) is not point:
            problems.append((where, f"space.{shown} has {printable(json.dumps(entry))} twice"))
    return Options(name, tuple(options.values())) if len(problems) == before else None


def _key_problems(key: str, value: JsonValue) -> Iterator[str]:
    if key in TAKEN:
        yield f"{key} {TAKEN[key]}"
        return
    known = known_keys()
    if any(each.startswith(f"{key}.") for each in known) and not _is_value(key):
        asked = [f"{key}.{inner}" for inner in as_object(value)]
        example = next((each for each in asked if each in known), None) or _first_setting(key, known)
        yield f"{printable(key)} is a section: name one of its settings in full, such as {example}"
    elif key not in known:
        yield f"unknown setting {printable(key)}{did_you_mean(nearest_key(key))}"


def _is_value(key: str) -> bool:
    """Return whether a mapping can be given as one value, such as `train.eval_every: {epochs: 2}`."""
    return "." in key and key not in ("optimizer.schedule", "optimizer.average")


def _first_setting(section: str, known: list[str]) -> str:
    return next(key for key in known if key.startswith(f"{section}.") and f"{key}." not in "".join(known))


def _range(name: str, value: Mapping[str, JsonValue], place: Place) -> Range | str:
    """Return a range, or a sentence that says what is wrong with it."""
    shown = f"space.{printable(name)}"
    if len(value) != 1 or next(iter(value)) not in SCALES:
        hint = did_you_mean(_nearest_scale(next(iter(value))) if len(value) == 1 else None)
        return (
            f"{shown} must be a list, or one of log, uniform and int with two ends, got {printable(str(value))}{hint}"
        )
    scale: Scale = next(each for each in SCALES if each in value)
    ends, shown_ends = value[scale], str(value[scale])
    numbers = [end for end in ends if is_number(end) and math.isfinite(end)] if isinstance(ends, list) else []
    if len(numbers) != 2 or ends != numbers:
        return f"{shown} {scale} must be two numbers such as {scale}: [{_example(scale)}], got {printable(shown_ends)}"
    low, high = numbers
    if scale == "int" and not all(type(end) is int for end in numbers):
        return f"{shown} int must have whole ends, got {printable(shown_ends)}"
    if not low < high:
        return f"{shown} {scale} must go from a lower to a higher number, got [{low}, {high}]"
    if scale == "log" and low <= 0:
        return f"{shown} log must begin above 0, got {low}"
    return (
        Range(name, scale, low, high, place) if scale == "int" else Range(name, scale, float(low), float(high), place)
    )


def _nearest_scale(word: str) -> str | None:
    """Return the scale that a word most likely means, such as log for loguniform or int for integer."""
    close = difflib.get_close_matches(word[:100], SCALES, n=1, cutoff=0.5)
    return next((scale for scale in SCALES if word.lower().startswith(scale)), None) or next(iter(close), None)


def _example(scale: Scale) -> str:
    return {"log": "1e-4, 1e-2", "uniform": "0.0, 0.5", "int": "64, 256"}[scale]
