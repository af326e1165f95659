"""The space that a sweep searches: what varies, its grid, its random points, and its edges.

A point is a pure function of the sweep's seed and the point's number, so a sweep that is started again draws the same.
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
# After this many draws in a row without a new point, a space counts as exhausted.
MAX_REPEATS = 1_000


@dataclass(frozen=True)
class Setting:
    """A value for one setting, and where it was given."""

    key: str
    value: JsonValue
    place: Place


Point = tuple[Setting, ...]


@dataclass(frozen=True)
class Options:
    """A list of alternative values for a setting, or for several settings that vary together."""

    name: str
    options: tuple[Point, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The settings that it varies."""
        return tuple(dict.fromkeys(setting.key for option in self.options for setting in option))

    @property
    def edges(self) -> tuple[Point, ...]:
        """The points that must be possible if all others are to be: for a list, every point."""
        return self.options

    def at(self, share: float) -> Point:
        """Return the value at a fraction of the way, in [0, 1)."""
        return self.options[int(share * len(self.options))]


@dataclass(frozen=True)
class Range:
    """A range of one number, including both ends.

    Args:
        name: the setting.
        scale: log and uniform draw real numbers, evenly by logarithm or by value; int draws whole numbers evenly.
    """

    name: str
    scale: Scale
    low: float
    high: float
    place: Place

    @property
    def keys(self) -> tuple[str, ...]:
        """The setting that it varies."""
        return (self.name,)

    @property
    def edges(self) -> tuple[Point, ...]:
        """Both ends."""
        return (self.point(self.low), self.point(self.high))

    def at(self, share: float) -> Point:
        """Return the value at a fraction of the way, in [0, 1); real numbers are rounded."""
        if self.scale == "int":
            return self.point(int(self.low) + int(share * (int(self.high) - int(self.low) + 1)))
        if self.scale == "log":
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return self.point(self.rounded(value))

    def rounded(self, value: float) -> float:
        """Round a real number to four digits, within the range, so that names and tables stay readable.

        A range that is narrow relative to its numbers, such as [0.999, 0.9999], gets correspondingly more digits.
        """
        narrowness = abs(self.high) / (self.high - self.low)
        digits = 4 + int(math.log10(max(narrowness, 1.0)))
        return min(max(float(f"{value:.{digits}g}"), self.low), self.high)

    def point(self, value: float) -> Point:
        """Return the point for a value of the range."""
        return (Setting(self.name, value, self.place),)


Dimension = Options | Range


@dataclass(frozen=True)
class Space:
    """All dimensions, in the order of the file."""

    dimensions: tuple[Dimension, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The settings that vary."""
        return tuple(key for dimension in self.dimensions for key in dimension.keys)

    @property
    def varying(self) -> frozenset[str]:
        """The settings that do not have the same value everywhere."""
        return frozenset(
            key
            for dimension in self.dimensions
            for key in dimension.keys
            if len({json.dumps([each.value for each in edge if each.key == key]) for edge in dimension.edges}) > 1
        )

    @property
    def grid_size(self) -> int:
        """The number of points of the grid."""
        return math.prod(len(each.options) for each in self.dimensions if isinstance(each, Options))

    def grid(self) -> Iterator[Point]:
        """Yield every combination; the last dimension varies fastest."""
        for parts in product(*(each.options for each in self.dimensions if isinstance(each, Options))):
            yield _joined(parts)

    def draws(self, seed: int) -> Iterator[Point]:
        """Yield distinct random points, until many draws in a row have found no new one."""
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
        """Return the random point with a number; it depends only on the seed and that number."""
        # Python's generator turns a text seed into a number by SHA-512, which is the same on every machine and version.
        return _joined(each.at(Random(f"{seed}/{number}/{each.name}").random()) for each in self.dimensions)

    def combinations(self) -> Iterator[Point]:
        """Yield every combination of list values and range ends."""
        for parts in product(*(each.edges for each in self.dimensions)):
            yield _joined(parts)

    def corners(self) -> Iterator[Point]:
        """Yield points that are all possible only if each value of each dimension is; one dimension varies at a time.

        In a space without ranges these are only a few of the points; the grid has all of them.
        """
        first = [dimension.edges[0] for dimension in self.dimensions]
        yield _joined(first)
        for number, dimension in enumerate(self.dimensions):
            for edge in dimension.edges[1:]:
                yield _joined([*first[:number], edge, *first[number + 1 :]])

    def points(self, seed: int, *, method: str, limit: int | None) -> Iterator[Point]:
        """Yield the points of a grid, or up to `limit` points of a random search."""
        return self.grid() if method == "grid" else islice(self.draws(seed), limit)


def is_number(value: JsonValue) -> TypeGuard[int | float]:
    """Return whether a value is a number; a boolean is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def values_text(point: Point) -> str:
    """Return a text that identifies a point."""
    return json.dumps({setting.key: setting.value for setting in point}, sort_keys=True)


def _joined(parts: Iterable[Point]) -> Point:
    return tuple(setting for part in parts for setting in part)
