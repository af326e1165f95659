"""The space a sweep searches: what varies, its grid, its random draws, and its edges.

A point is a pure function of the sweep's seed and the point's number, so that a sweep started again draws the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice, product
from random import Random
from typing import Literal, TypeGuard

from pydantic import JsonValue

from charlm.settings.strict_yaml import Place

Scale = Literal["log", "uniform", "int"]
SCALES: tuple[Scale, ...] = ("log", "uniform", "int")
MAX_POINTS = 10_000
# Draws in a row that bring nothing new before a space counts as exhausted.
MAX_REPEATS = 1_000


@dataclass(frozen=True)
class Setting:
    """A value for one setting, and where it was asked for."""

    key: str
    value: JsonValue
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
        """Return the value at a share in [0, 1) of the way; real numbers rounded."""
        if self.scale == "int":
            return self.point(int(self.low) + int(share * (int(self.high) - int(self.low) + 1)))
        if self.scale == "log":
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return self.point(self.rounded(value))

    def rounded(self, value: float) -> float:
        """Return a real number to four digits, within the range: names and tables stay readable.

        A range that is narrow for its numbers, such as [0.999, 0.9999], has as many digits more as it is narrow.
        """
        narrowness = abs(self.high) / (self.high - self.low)
        digits = 4 + int(math.log10(max(narrowness, 1.0)))
        return min(max(float(f"{value:.{digits}g}"), self.low), self.high)

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

    def combinations(self) -> Iterator[Point]:
        """Yield every combination of values of lists and ends of ranges."""
        for parts in product(*(each.edges for each in self.dimensions)):
            yield _joined(parts)

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


def is_number(value: JsonValue) -> TypeGuard[int | float]:
    """Say whether a value is a number, which a boolean is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def values_text(point: Point) -> str:
    """Return what tells a point from all others."""
    return json.dumps({setting.key: setting.value for setting in point}, sort_keys=True)


def _joined(parts: Iterable[Point]) -> Point:
    return tuple(setting for part in parts for setting in part)
