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


def every(step: int, cases: Iterable[Any]) -> list[Any]:
    """Return cases of one kind as parameters: the first and each so many further ones stay quick, CI runs the rest.

    Args:
        step: 2 for each second case.
        cases: values, or parameters of one value each.
    """
    return [case if number % step == 0 else _slow(case) for number, case in enumerate(cases)]


def _slow(case: Any) -> Any:
    if isinstance(case, type(pytest.param())):
        return pytest.param(*case.values, id=case.id, marks=[*case.marks, pytest.mark.slow])
    return pytest.param(case, marks=pytest.mark.slow)


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
