"""Pareto fronts: the points that nothing beats in both of two figures."""

from __future__ import annotations

from collections.abc import Iterable


def pareto_front(points: Iterable[tuple[int, float, float]]) -> list[int]:
    """Return the names of the points on the front, from the lowest first figure on.

    Args:
        points: of each a name and two figures, of both of which less is better.
    """
    front: list[int] = []
    lowest: float | None = None
    for name, _, second in sorted(points, key=lambda point: (point[1], point[2], point[0])):
        if lowest is None or second < lowest:
            front.append(name)
            lowest = second
    return front
