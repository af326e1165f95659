"""Print how far each cell remembers in a memory task: a table of right answers by lag, and on a terminal a picture."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from rich.text import Text

from charlm.console.columns import NOTHING, column_table, fitting, print_whole
from charlm.console.plots import show_picture
from charlm.console.terminal import console_for, is_live
from charlm.insight.memory_records import CellMemory, MemoryFindings
from charlm.reports.memory_pictures import memory_picture

# What a table says about each cell besides its results.
DETAILS = ("units", "parameters", "rate")


def show_memory(found: MemoryFindings) -> None:
    """Print the results of a memory task, and on a terminal their picture."""
    console = console_for(sys.stdout)
    console.print(Text(f"{found.task}: {found.question}", style="bold"), soft_wrap=True)
    console.print("")
    console.print(Text("Right answers by lag, in %", style="bold"))
    columns = _columns(found)
    # A narrow terminal has room for the longest lags at least.
    by_need = ("cell", *map(str, reversed(_lags(found))), *reversed(DETAILS))
    kept = fitting(columns, by_need, console.width) if is_live(sys.stdout) else columns
    print_whole(console, column_table(kept, texts=("cell",)))
    console.print("")
    for sentence in _sentences(found):
        console.print(Text(sentence), soft_wrap=True)
    if is_live(sys.stdout):
        console.print("")
        # Its sentences stand above.
        show_picture(replace(memory_picture(found), notes=()))


def _columns(found: MemoryFindings) -> Mapping[str, Sequence[str]]:
    """Return the cells of the table below each title; the last row is chance."""
    lags = _lags(found)
    chance = ("chance", *[NOTHING] * len(DETAILS), *[f"{100 * found.chance:.1f}"] * len(lags))
    titles = ("cell", *DETAILS, *map(str, lags))
    return dict(zip(titles, zip(*map(_row, found.cells), chance, strict=True), strict=True))


def _row(cell: CellMemory) -> tuple[str, ...]:
    shares = (f"{100 * each.accuracy:.1f}" for each in cell.lags)
    return cell.cell.upper(), str(cell.hidden_size), f"{cell.num_parameters:,}", f"{cell.learning_rate:g}", *shares


def _lags(found: MemoryFindings) -> list[int]:
    return [each.lag for each in found.cells[0].lags]


def _sentences(found: MemoryFindings) -> Iterator[str]:
    """Yield what the results say, what they rest on, and how certain they are."""
    yield found.verdict
    yield (
        f"Chance is the best guess that remembers nothing: {found.guess}. Each cell has the best of "
        f"{len(found.cells[0].trials)} learning rates, each of them trained for {found.num_steps:,} steps of "
        f"{found.batch_size} sequences, on lags up to {found.longest_trained}."
    )
    lags = [lag for cell in found.cells for lag in cell.lags]
    widest = max(max(high - each.accuracy, each.accuracy - low) for each in lags for low, high in (each.interval,))
    yield (
        f"{lags[0].num_sequences} test sequences per lag: the 95 % intervals are at most ± {100 * widest:.1f}. Another "
        f"training can differ by more: this was seed {found.seed}, try others."
    )
