"""Print the results of a sweep: one row per configuration, the best first, and which settings mattered."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from charlm.console.columns import NOTHING, column_table, fitting, print_whole, spread_text
from charlm.console.terminal import console_for, is_live
from charlm.errors import printable
from charlm.reports.rows import value_text
from charlm.sweeps.output import BEST, RESULTS
from charlm.sweeps.results import Configuration, Results, figure_names, varied_keys

MAX_VALUE = 40
BAR_WIDTH = 20
TITLES = {"chars_per_second": "chars/s", "num_parameters": "parameters"}
# The word for each Pareto front, used in the column that marks its members.
FRONTS = {"chars_per_second": "speed", "num_parameters": "size"}
BEST_FOR = "best for its"
COUNTS = ("trials", "steps")


def show_results(results: Results, folder: Path) -> None:
    """Print the closing table on standard output; a terminal shows the columns that fit."""
    console, on_terminal = console_for(sys.stdout), is_live(sys.stdout)
    columns = _columns(results)
    shown: Mapping[str, Sequence[str]] = columns
    if on_terminal:
        figures = [_title(name) for name in figure_names(results)]
        settings = [title for title in columns if title not in (*figures, *COUNTS, *FRONTS, BEST_FOR, "parameters")]
        shown = fitting(
            columns, (*settings, *figures[:1], *COUNTS, *figures[1:], "parameters", BEST_FOR), console.width
        )
    first = "green" if results.best else ""
    table = column_table(shown, texts=COUNTS[:1], styles=[first, *[""] * (len(results.configurations) - 1)])
    print_whole(console, table)
    if left_out := [title for title in columns if title not in shown]:
        console.print(f"no room for these columns: {', '.join(left_out)}; {RESULTS} has all")
    if any(value.deviation is not None for each in results.configurations for value in each.figures.values()):
        console.print("(mean ± standard deviation over seeds, n - 1)")
    if BEST_FOR in columns:
        console.print("(best for its speed or size: no other configuration has fewer bits and is as fast, or as small)")
    for figure, numbers in results.fronts.items() if BEST_FOR in left_out else ():
        console.print(f"best for its {FRONTS[figure]}: {_named(results, numbers)}")
    for name, share in (results.importance or {}).items():
        bar = "█" * round(share * BAR_WIDTH) if on_terminal else ""
        console.print(f"importance of {name}: {share:.0%} {bar}".rstrip())
    for warning in results.warnings:
        console.print(f"warning: {warning}", style="yellow")
    if results.best is not None:
        console.print(f"best: {printable(str(folder / BEST), 500)}")


def _columns(results: Results) -> dict[str, list[str]]:
    """Return the cells of each column by its title."""
    rows = results.configurations
    keys = varied_keys(rows)
    last = [key.rpartition(".")[2] for key in keys]
    columns = {
        (word if last.count(word) == 1 else key): [value_text(row.settings.get(key), MAX_VALUE) for row in rows]
        for key, word in zip(keys, last, strict=True)
    }
    columns["trials"] = [_trials_text(row) for row in rows]
    columns["steps"] = [NOTHING if row.num_steps is None else f"{row.num_steps:,}" for row in rows]
    for name in figure_names(results):
        digits = ",.0f" if name == "chars_per_second" else ".3f"
        columns[_title(name)] = [spread_text(row.figures.get(name), digits) for row in rows]
    columns["parameters"] = [NOTHING if row.num_parameters is None else f"{row.num_parameters:,}" for row in rows]
    if any(len(numbers) > 1 for numbers in results.fronts.values()):
        columns[BEST_FOR] = [_fronts_text(row, results) for row in rows]
    return columns


def _named(results: Results, numbers: Sequence[int]) -> str:
    """Return configurations as the values of their settings."""
    settings = {each.number: each.settings for each in results.configurations}
    return "; ".join(
        " ".join(value_text(value, MAX_VALUE) for value in settings[number].values()) for number in numbers
    )


def _title(figure: str) -> str:
    return TITLES.get(figure, figure)


def _trials_text(row: Configuration) -> str:
    return f"{row.num_finished}/{row.num_trials}" + (" failed" if row.state == "failed" else "")


def _fronts_text(row: Configuration, results: Results) -> str:
    """Return the fronts that a configuration belongs to."""
    names = [FRONTS[figure] for figure, numbers in results.fronts.items() if row.number in numbers]
    return ", ".join(names) or NOTHING
