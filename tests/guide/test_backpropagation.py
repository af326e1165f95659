"""The page about back-propagation through time: its table of memory is what the forward pass keeps."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from prose import GUIDE, fences

PAGE = GUIDE / "backpropagation.md"
ROWS = re.findall(r"^\| (\d+)(, \w+ \w+)? \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
CHANGES = {"": {}, ", two layers": {"num_layers": 2}, ", three layers": {"num_layers": 3}}
CHANGES |= {", both directions": {"direction": "bidirectional"}}


@pytest.fixture(scope="module")
def bytes_kept() -> Callable[..., int]:
    """Return the function that the page shows."""
    (block,) = (fence.text for fence in fences(PAGE) if fence.language == "python")
    names: dict[str, object] = {}
    exec(block.rpartition("\n\n\n")[0], names)
    return names["bytes_kept"]  # pyright: ignore[reportReturnType]


@pytest.mark.kernels
@pytest.mark.parametrize(("window", "change", "cells"), ROWS, ids=lambda each: str(each))
def test_its_table_is_what_the_forward_pass_keeps(
    bytes_kept: Callable[..., int], window: str, change: str, cells: str
) -> None:
    told = dict(zip(("rnn", "gru", "lstm"), cells.split("|"), strict=True))
    for cell, mib in told.items():
        if mib.strip():
            kept = bytes_kept(int(window), cell=cell, implementation="native", **CHANGES[change])
            assert f"{kept / 2**20:.2f}" == mib.strip(), cell


@pytest.mark.parametrize("implementation", ["torch", "reference"])
def test_memory_is_linear_in_the_window_and_a_second_direction_doubles_it(
    bytes_kept: Callable[..., int], implementation: str
) -> None:
    few, double, both = (
        bytes_kept(length, implementation=implementation, batch_size=4, **changes)
        for length, changes in ((32, {}), (64, {}), (32, {"direction": "bidirectional"}))
    )
    assert double == pytest.approx(2 * few, rel=0.03)
    assert 2 * few < both < 2.3 * few
