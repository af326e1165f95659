"""Products of many axes, of which the quick suite runs enough cells to cover every pair of values."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, product
from typing import Any

import pytest


def by_pairs(*axes: tuple[Any, ...]) -> list[Any]:
    """Return the whole product of some axes as parameters; cells that the pairs do not need are marked slow.

    A fault that shows with one value, or with two values together, shows in the quick suite; CI runs the rest. A cell
    of the native implementation needs the kernels.
    """
    needed = covering(*axes)
    slow, kernels = pytest.mark.slow, pytest.mark.kernels
    return [
        pytest.param(*cell, marks=[slow] * (cell not in needed) + [kernels] * ("native" in cell))
        for cell in product(*axes)
    ]


def one_in(number: int, cases: Iterable[Any]) -> list[Any]:
    """Return cases of one kind as parameters; one in so many stays in the quick suite, and the rest are marked slow."""
    return [pytest.param(case, marks=[pytest.mark.slow] * (at % number > 0)) for at, case in enumerate(cases)]


def covering(*axes: tuple[Any, ...]) -> set[tuple[Any, ...]]:
    """Return cells of a product that have, of any two axes, each value of the one with each of the other."""
    cells = list(product(*axes))
    missing = {pair for cell in cells for pair in pairs_of(cell)}
    chosen: set[tuple[Any, ...]] = set()
    while missing:
        best = max(cells, key=lambda cell: len(missing & pairs_of(cell)))
        chosen.add(best)
        missing -= pairs_of(best)
    return chosen


def pairs_of(cell: tuple[Any, ...]) -> set[tuple[Any, ...]]:
    """Return each pair of a cell's values, with the axes that they are of."""
    return set(combinations(enumerate(cell), 2))
