"""Runs side by side: a table on a terminal, fields between tabs in a pipe, CSV, and a table for a README."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from charlm.console.terminal import console_for, is_live
from charlm.errors import printable
from charlm.reports.comparison import CORPUS, Comparison
from charlm.reports.results import BEST_VAL, TEST, TEST_CLOZE, VAL, VAL_CLOZE
from charlm.reports.rows import Row, Spread

NOTHING = "-"
GAP = 2
MIN_RANGE = 3
MAX_VALUE = 60
NAMES = ("run", "seeds", "state", "machine")
FIGURES = {
    BEST_VAL: "best val bpc",
    VAL: "final val bpc",
    TEST: "test bpc",
    VAL_CLOZE: "val cloze",
    TEST_CLOZE: "test cloze",
}
COSTS: dict[str, Callable[[Row], str]] = {
    "chars/s": lambda row: _rate_text(row.chars_per_second()),
    "parameters": lambda row: f"{row.results[0].num_parameters:,}",
    "minutes": lambda row: _minutes_text(row.minutes()),
    "machine": lambda row: "; ".join(row.machines),
}
# What stays where a terminal is too narrow for all, most needed first: these, then settings, then the others.
NEEDED = ("run", "state", "final val bpc", "best val bpc")
OTHERS = ("test bpc", "seeds", "val cloze", "test cloze", "parameters", "minutes", "chars/s", "machine")


def show_comparison(comparison: Comparison) -> None:
    """Print the rows, and on a terminal, whose width chooses the columns, what does not compare below them."""
    if not is_live(sys.stdout):
        columns = _columns(comparison)
        for cells in (tuple(columns), *zip(*columns.values(), strict=True)):
            print("\t".join(cells))
        return
    console = console_for(sys.stdout)
    columns = {
        title: cells
        for title, cells in _shortened(_columns(comparison), comparison).items()
        if title != "state" or set(cells) != {"finished"}
        if set(cells) != {NOTHING}
    }
    kept = _fitting(columns, console.width)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for title in kept:
        is_text = title in NAMES or not _are_numbers(columns[title])
        table.add_column(Text(title), justify="left" if is_text else "right", no_wrap=len(kept) > 1, overflow="fold")
    for cells in zip(*(columns[title] for title in kept), strict=True):
        table.add_row(*map(Text, cells))
    console.print(table)
    if left_out := [title for title in columns if title not in kept]:
        console.print(f"no room for: {', '.join(left_out)}; --csv has all", markup=False)
    for warning in comparison.warnings:
        console.print(f"warning: {warning}", markup=False)


def print_csv(comparison: Comparison) -> None:
    """Print a row of unrounded values for each row, below their names."""
    records = [dict(_flattened(row.as_record())) for row in comparison.rows]
    writer = csv.DictWriter(sys.stdout, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)


def print_markdown(comparison: Comparison) -> None:
    """Print a table as GitHub draws it, and below it what does not compare."""
    has_spreads = any(len(row.results) > 1 for row in comparison.rows)
    nats = "validation nats" + (" (mean ± deviation)" if has_spreads else "")
    header = ("configuration", "seeds", nats, "bits per character", "parameters", "minutes", "machine")
    lines = [header, tuple("---" for _ in header), *map(_markdown_cells, comparison.rows)]
    for cells in lines:
        print("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    for warning in comparison.warnings:
        print(f"\nWarning: {warning}.")


def _markdown_cells(row: Row) -> tuple[str, ...]:
    """Return the closing figures of finished runs, and of others the best so far, marked as that."""
    figure, mark = (VAL, "") if row.state == "finished" else (BEST_VAL, " (best so far)")
    nats, bits = _spread_text(row.nats(figure), 4), _spread_text(row.bits(figure), 3)
    return (
        f"`{row.name.replace('`', chr(39))}`" + ("" if row.state == "finished" else f" ({row.state})"),
        _seeds_text(row.seeds),
        nats + (mark if nats != NOTHING else ""),
        bits,
        f"{row.results[0].num_parameters:,}",
        _minutes_text(row.minutes()),
        "; ".join(row.machines),
    )


def _columns(comparison: Comparison) -> dict[str, list[str]]:
    """Return the cells of each column below its title; the cloze figures where a model has them."""
    rows = comparison.rows
    columns = {"run": [row.name for row in rows]}
    columns |= {key: [_value_text(row.settings[key]) for row in rows] for key in comparison.settings}
    columns |= {"seeds": [_seeds_text(row.seeds) for row in rows], "state": [_state_text(row) for row in rows]}
    for figure, title in FIGURES.items():
        cells = [_spread_text(row.bits(figure), 3) for row in rows]
        if figure not in (VAL_CLOZE, TEST_CLOZE) or set(cells) != {NOTHING}:
            columns[title] = cells
    return columns | {title: [text(row) for row in rows] for title, text in COSTS.items()}


def _shortened(columns: Mapping[str, list[str]], comparison: Comparison) -> dict[str, list[str]]:
    """Return the columns, a setting called by the last word of its key where no other setting or column has that."""
    words = Counter(key.rpartition(".")[2] for key in comparison.rows[0].results[0].settings)
    short = {key: key.rpartition(".")[2] for key in comparison.settings if key not in CORPUS}
    return {
        short[title] if title in short and words[short[title]] == 1 and short[title] not in columns else title: cells
        for title, cells in columns.items()
    }


def _fitting(columns: Mapping[str, Sequence[str]], width: int) -> list[str]:
    """Return the columns that fit into a width, in their order: the run always, then the most needed."""
    settings = [title for title in columns if title not in (*NEEDED, *OTHERS, *CORPUS)]
    kept: set[str] = set()
    for title in (*NEEDED, *settings, *OTHERS, *CORPUS):
        total = sum(_width(each, columns[each]) for each in {*kept, title} & columns.keys()) - GAP
        if title in columns and (total <= width or not kept):
            kept.add(title)
    return [title for title in columns if title in kept]


def _width(title: str, cells: Sequence[str]) -> int:
    return max(map(cell_len, (title, *cells))) + GAP


def _are_numbers(cells: Sequence[str]) -> bool:
    return all(cell == NOTHING or cell[:1].isdigit() for cell in cells)


def _value_text(value: Any) -> str:
    """Return a setting as a person would write it in a configuration."""
    if isinstance(value, dict):
        return f"{value['epochs']} epochs"
    if isinstance(value, list):
        return ", ".join(map(_value_text, cast("list[Any]", value)))
    return printable(value if isinstance(value, str) else json.dumps(value), MAX_VALUE)


def _seeds_text(seeds: Sequence[int]) -> str:
    """Return seeds in rising order, three and more that follow each other as a range."""
    first, last = seeds[0], seeds[-1]
    if len(seeds) >= MIN_RANGE and last - first == len(seeds) - 1:
        return f"{first} to {last}"
    return ", ".join(map(str, seeds))


def _state_text(row: Row) -> str:
    return row.state if row.state == "finished" else f"{row.state}, step {row.results[0].steps:,}"


def _spread_text(values: Spread | None, digits: int) -> str:
    if values is None:
        return NOTHING
    return f"{values.mean:.{digits}f}" + ("" if values.deviation is None else f" ± {values.deviation:.{digits}f}")


def _rate_text(values: Spread | None) -> str:
    return NOTHING if values is None else f"{values.mean:,.0f}"


def _minutes_text(values: Spread | None) -> str:
    if values is None:
        return NOTHING
    return f"{values.mean:,.1f}" if values.mean >= 1 else f"{values.mean:.2g}"


def _flattened(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a row of CSV: a spread is two, settings have their dotted keys, lists are joined."""
    spreads = [key for key in record if key.endswith(("_nats_per_char", "_bpc"))] + ["steps", "chars_per_second"]
    for key, value in record.items():
        if key in (*spreads, "minutes"):
            yield key, value and value["mean"]
            yield f"{key}_deviation", value and value["deviation"]
        elif key == "settings":
            yield from ((name, _value_text(setting)) for name, setting in value.items())
        else:
            yield key, "; ".join(map(str, cast("list[Any]", value))) if isinstance(value, list) else value
