"""Build tables whose columns are chosen to fit the terminal, and cells that several tables share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from charlm.evaluation.spread import Spread

NOTHING = "-"
GAP = 2
MAX_WIDTH = 10_000


def spread_text(values: Spread | None, digits: str) -> str:
    """Return a mean, with the standard deviation where there are several runs.

    Args:
        digits: the format of each number, such as `.3f`.
    """
    if values is None:
        return NOTHING
    return f"{values.mean:{digits}}" + ("" if values.deviation is None else f" ± {values.deviation:{digits}}")


def fitting(columns: Mapping[str, Sequence[str]], order: Iterable[str], width: int) -> dict[str, Sequence[str]]:
    """Return the columns that fit into a width, in their original order.

    Args:
        columns: the cells below each title.
        order: titles, most needed first; the first is kept whatever its width. Titles of no column are ignored.
        width: the width of the terminal, in cells.
    """
    kept: set[str] = set()
    for title in order:
        total = sum(_width(each, columns[each]) for each in {*kept, title} & columns.keys()) - GAP
        if title in columns and (total <= width or not kept):
            kept.add(title)
    return {title: cells for title, cells in columns.items() if title in kept}


def print_whole(console: Console, table: Table) -> None:
    """Print a table; outside a terminal, which has no width, nothing is cut off."""
    if not console.is_terminal:
        console.width = MAX_WIDTH
    console.print(table)


def column_table(
    columns: Mapping[str, Sequence[str]], *, texts: Collection[str] = (), styles: Sequence[str] = ()
) -> Table:
    """Return a table in which columns of numbers are aligned right.

    Args:
        texts: titles of columns to treat as text, whatever they hold.
        styles: one style per row; empty for unstyled rows.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for title, cells in columns.items():
        is_text = title in texts or not _are_numbers(cells)
        table.add_column(Text(title), justify="left" if is_text else "right", no_wrap=len(columns) > 1, overflow="fold")
    for number, cells in enumerate(zip(*columns.values(), strict=True)):
        table.add_row(*map(Text, cells), style=styles[number] if styles else None)
    return table


def _width(title: str, cells: Sequence[str]) -> int:
    return max(map(cell_len, (title, *cells))) + GAP


def _are_numbers(cells: Sequence[str]) -> bool:
    return all(cell == NOTHING or cell[:1].isdigit() for cell in cells)
