"""The space a sweep searches: what varies, its grid, its random draws, and its edges.

A point is a pure function of the sweep's seed and the point's number, so that a sweep started again draws the same.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice, product
from random import Random
from typing import Any, Literal, cast

from charlm.errors import printable
from charlm.settings.diagnosis import known_keys, nearest_key
from charlm.settings.loading import KeyPath, Place

Scale = Literal["log", "uniform", "int"]
SCALES: tuple[Scale, ...] = ("log", "uniform", "int")
MAX_POINTS = 10_000
# Draws in a row that bring nothing new before a space counts as exhausted.
MAX_REPEATS = 1_000
# What no point may set, and who does.
TAKEN = {
    "train.seed": "is set by seeds: how many there are",
    "train.threads": "is set by --jobs: the cores are divided among them",
}


@dataclass(frozen=True)
class Setting:
    """A value for one setting, and where it was asked for."""

    key: str
    value: Any
    place: Place


Point = tuple[Setting, ...]


@dataclass(frozen=True)
class Options:
    """A list: one of several values of a setting, or of several settings that belong together."""

    name: str
    options: tuple[Point, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The settings it varies."""
        return tuple(dict.fromkeys(setting.key for option in self.options for setting in option))

    @property
    def edges(self) -> tuple[Point, ...]:
        """What must be possible for all of it to be: here, everything."""
        return self.options

    def at(self, share: float) -> Point:
        """Return the value at a share in [0, 1) of the way."""
        return self.options[int(share * len(self.options))]


@dataclass(frozen=True)
class Range:
    """A range of one number, both ends included.

    Args:
        name: of the setting.
        scale: log and uniform draw real numbers, evenly in the logarithm or in the number; int draws whole ones evenly.
    """

    name: str
    scale: Scale
    low: float
    high: float
    place: Place

    @property
    def keys(self) -> tuple[str, ...]:
        """The setting it varies."""
        return (self.name,)

    @property
    def edges(self) -> tuple[Point, ...]:
        """Both ends."""
        return (self.point(self.low), self.point(self.high))

    def at(self, share: float) -> Point:
        """Return the value at a share in [0, 1) of the way; real numbers to four digits."""
        if self.scale == "int":
            return self.point(int(self.low) + int(share * (int(self.high) - int(self.low) + 1)))
        if self.scale == "log":
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return self.point(self.rounded(value))

    def rounded(self, value: float) -> float:
        """Return a real number to four digits, within the range: names and tables stay readable."""
        return min(max(float(f"{value:.4g}"), self.low), self.high)

    def point(self, value: float) -> Point:
        """Return one value of the range."""
        return (Setting(self.name, value, self.place),)


Dimension = Options | Range


@dataclass(frozen=True)
class Space:
    """All dimensions, in the file's order."""

    dimensions: tuple[Dimension, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The settings that vary."""
        return tuple(key for dimension in self.dimensions for key in dimension.keys)

    @property
    def varying(self) -> frozenset[str]:
        """Those of its settings that do not have one value everywhere."""
        return frozenset(
            key
            for dimension in self.dimensions
            for key in dimension.keys
            if len({json.dumps([each.value for each in edge if each.key == key]) for edge in dimension.edges}) > 1
        )

    @property
    def grid_size(self) -> int:
        """How many points the grid has."""
        return math.prod(len(each.options) for each in self.dimensions if isinstance(each, Options))

    def grid(self) -> Iterator[Point]:
        """Yield every combination; the last dimension varies fastest."""
        for parts in product(*(each.options for each in self.dimensions if isinstance(each, Options))):
            yield _joined(parts)

    def draws(self, seed: int) -> Iterator[Point]:
        """Yield random points, none twice, until chance finds no new one."""
        seen: set[str] = set()
        num_repeats = 0
        for number in count():
            point = self.draw(seed, number)
            key = values_text(point)
            num_repeats = num_repeats + 1 if key in seen else 0
            if num_repeats == 0:
                seen.add(key)
                yield point
            elif num_repeats == MAX_REPEATS:
                return

    def draw(self, seed: int, number: int) -> Point:
        """Return the random point of a number: a function of these two alone."""
        # A text seeds Python's generator through SHA-512: the same on every machine and version.
        return _joined(each.at(Random(f"{seed}/{number}/{each.name}").random()) for each in self.dimensions)

    def corners(self) -> Iterator[Point]:
        """Yield points that are all possible only if each value of each dimension is: one dimension at a time varies.

        Of a space without ranges these are few of many; the grid tells all.
        """
        first = [dimension.edges[0] for dimension in self.dimensions]
        yield _joined(first)
        for number, dimension in enumerate(self.dimensions):
            for edge in dimension.edges[1:]:
                yield _joined([*first[:number], edge, *first[number + 1 :]])

    def points(self, seed: int, *, method: str, limit: int | None) -> Iterator[Point]:
        """Yield the points of a grid, or so many of a random search."""
        return self.grid() if method == "grid" else islice(self.draws(seed), limit)


def values_text(point: Point) -> str:
    """Return what tells a point from all others."""
    return json.dumps({setting.key: setting.value for setting in point}, sort_keys=True)


def read_space(values: Mapping[str, Any], places: Mapping[KeyPath, Place]) -> tuple[Space, list[tuple[Place, str]]]:
    """Return the space of a sweep file, and each problem with its place; with problems it is not the whole space.

    Args:
        values: what stands under `space`.
        places: of the whole file.
    """
    dimensions: list[Dimension] = []
    problems: list[tuple[Place, str]] = []
    owners: dict[str, str] = {}
    for name, value in values.items():
        place = places[("space", name)]
        dimension = _dimension(name, value, places, problems)
        if dimension is None:
            continue
        for key in dimension.keys:
            if key in owners:
                problems.append((place, f"space.{name} varies {key}, and so does space.{owners[key]}: keep one"))
            owners[key] = name
        dimensions.append(dimension)
    return Space(tuple(dimensions)), problems


def _joined(parts: Any) -> Point:
    return tuple(setting for part in parts for setting in part)


def _dimension(
    name: str, value: Any, places: Mapping[KeyPath, Place], problems: list[tuple[Place, str]]
) -> Dimension | None:
    """Return a dimension, or None where what is wrong with it has been added to the problems."""
    place, before = places[("space", name)], len(problems)
    shown = printable(name)
    entries = cast("list[Any]", value) if isinstance(value, list) else None
    is_bundle = "." not in name and bool(entries) and all(isinstance(entry, dict) for entry in entries or [])
    if not is_bundle:
        problems += [(place, reason) for reason in _key_problems(name)]
    if isinstance(value, dict):
        found = _range(name, cast("dict[str, Any]", value), place)
        if isinstance(found, Range):
            return found if len(problems) == before else None
        problems.append((place, found))
        return None
    if not entries:
        problems.append(
            (
                place,
                f"space.{shown} must be a list of values, or one of {{log: [a, b]}}, {{uniform: [a, b]}} "
                f"and {{int: [a, b]}}, got {printable(str(cast('object', value)))}",
            )
        )
        return None
    options: list[Point] = []
    for number, entry in enumerate(entries):
        where = places[("space", name, number)]
        settings = cast("dict[str, Any]", entry) if is_bundle else {name: entry}
        if is_bundle:
            problems += [
                (places[("space", name, number, key)], reason) for key in settings for reason in _key_problems(key)
            ]
        point = tuple(
            Setting(key, each, places.get(("space", name, number, key), where)) for key, each in settings.items()
        )
        if values_text(point) in map(values_text, options):
            problems.append((where, f"space.{shown} has {printable(json.dumps(entry))} twice"))
        options.append(point)
    return Options(name, tuple(options)) if len(problems) == before else None


def _key_problems(key: str) -> Iterator[str]:
    if key in TAKEN:
        yield f"{key} {TAKEN[key]}"
        return
    known = known_keys()
    if any(each.startswith(f"{key}.") for each in known) and not _is_value(key):
        yield f"{printable(key)} is a section: name one of its settings, such as {_first_setting(key, known)}"
    elif key not in known:
        near = nearest_key(key)
        yield f"unknown setting {printable(key)}" + (f"; did you mean {near}?" if near else "")


def _is_value(key: str) -> bool:
    """Say whether a mapping's key can be given as a whole, as `train.eval_every: {epochs: 2}` can."""
    return "." in key and key not in ("optimizer.schedule", "optimizer.average")


def _first_setting(section: str, known: list[str]) -> str:
    return next(key for key in known if key.startswith(f"{section}.") and f"{key}." not in "".join(known))


def _range(name: str, value: Mapping[str, Any], place: Place) -> Range | str:
    """Return a range, or what is wrong with it."""
    shown = f"space.{printable(name)}"
    if len(value) != 1 or next(iter(value)) not in SCALES:
        wrong = next((key for key in value if key not in SCALES), None)
        near = difflib.get_close_matches(wrong[:100], SCALES, n=1, cutoff=0.5) if wrong else []
        hint = f"; did you mean {near[0]}?" if near else ""
        return (
            f"{shown} must be a list, or one of log, uniform and int with two ends, got {printable(str(value))}{hint}"
        )
    scale, ends = cast("tuple[Scale, Any]", next(iter(value.items())))
    numbers = cast("list[Any]", ends) if isinstance(ends, list) else []
    shown_ends = str(cast("object", ends))
    if len(numbers) != 2 or any(type(end) not in (int, float) or not math.isfinite(end) for end in numbers):
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


def _example(scale: Scale) -> str:
    return {"log": "1e-4, 1e-2", "uniform": "0.0, 0.5", "int": "64, 256"}[scale]
