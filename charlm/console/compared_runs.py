"""Runs side by side: a table on a terminal, fields between tabs in a pipe, CSV, and a table for a README."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from pydantic import JsonValue

from charlm.console.columns import NOTHING, column_table, fitting, spread_text
from charlm.console.terminal import console_for, is_live
from charlm.evaluation.spread import Spread
from charlm.reports.comparison import CORPUS, Comparison, short_names
from charlm.reports.rows import Row, value_text
from charlm.reports.run_results import BEST_VAL, TEST, TEST_CLOZE, VAL, VAL_CLOZE
from charlm.runs.json_records import Json, as_object

MIN_RANGE = 3
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
    settings = [title for title in columns if title not in (*NEEDED, *OTHERS, *CORPUS)]
    kept = fitting(columns, (*NEEDED, *settings, *OTHERS, *CORPUS), console.width)
    console.print(column_table(kept, texts=NAMES))
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
    nats, bits = spread_text(row.nats(figure), ".4f"), spread_text(row.bits(figure), ".3f")
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
    columns |= {key: [value_text(row.settings[key]) for row in rows] for key in comparison.settings}
    columns |= {"seeds": [_seeds_text(row.seeds) for row in rows], "state": [_state_text(row) for row in rows]}
    for figure, title in FIGURES.items():
        cells = [spread_text(row.bits(figure), ".3f") for row in rows]
        if figure not in (VAL_CLOZE, TEST_CLOZE) or set(cells) != {NOTHING}:
            columns[title] = cells
    return columns | {title: [text(row) for row in rows] for title, text in COSTS.items()}


def _shortened(columns: Mapping[str, list[str]], comparison: Comparison) -> dict[str, list[str]]:
    """Return the columns, a setting called by its short name where no other column has that."""
    short = short_names(comparison)
    return {
        short[title] if title in short and short[title] not in columns else title: cells
        for title, cells in columns.items()
    }


def _seeds_text(seeds: Sequence[int]) -> str:
    """Return seeds in rising order, three and more that follow each other as a range."""
    first, last = seeds[0], seeds[-1]
    if len(seeds) >= MIN_RANGE and last - first == len(seeds) - 1:
        return f"{first} to {last}"
    return ", ".join(map(str, seeds))


def _state_text(row: Row) -> str:
    return row.state if row.state == "finished" else f"{row.state}, step {row.results[0].steps:,}"


def _rate_text(values: Spread | None) -> str:
    return NOTHING if values is None else f"{values.mean:,.0f}"


def _minutes_text(values: Spread | None) -> str:
    if values is None:
        return NOTHING
    return f"{values.mean:,.1f}" if values.mean >= 1 else f"{values.mean:.2g}"


def _flattened(record: Json) -> Iterator[tuple[str, JsonValue]]:
    """Yield the fields of a row of CSV: a spread is two, settings have their dotted keys, lists are joined."""
    spreads = [key for key in record if key.endswith(("_nats_per_char", "_bpc"))] + ["steps", "chars_per_second"]
    for key, value in record.items():
        if key in (*spreads, "minutes"):
            yield key, as_object(value).get("mean")
            yield f"{key}_deviation", as_object(value).get("deviation")
        elif key == "settings":
            yield from ((name, value_text(setting)) for name, setting in as_object(value).items())
        else:
            yield key, "; ".join(map(str, value)) if isinstance(value, list) else value
