"""Print runs, checkpoints and machines."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from charlm.console.columns import NOTHING, column_table, fitting, print_whole
from charlm.console.parents import parent_text
from charlm.console.results import result_rows
from charlm.console.terminal import console_for, is_live
from charlm.errors import printable
from charlm.reports.diagnosis import Diagnosis
from charlm.runs.facts import Machine
from charlm.runs.model_file import ModelFile
from charlm.runs.overview import Overview
from charlm.runs.run import Run
from charlm.settings.loading import dump_settings

if TYPE_CHECKING:
    # Verifying needs torch, and drawing does not.
    from charlm.training.verification import Verdict

COLUMNS = {
    "name": "run",
    "state": "state",
    "corpus": "corpus",
    "model": "model",
    "num_parameters": "parameters",
    "steps": "steps",
    "best_val_bpc": "best val bpc",
    "best_val_backward_bpc": "backward",
    "best_val_cloze_bpc": "cloze",
    "val_bpc": "final val bpc",
    "test_bpc": "test bpc",
    "train_bpc": "train bpc",
    "train_perplexity": "train ppl",
    "chars_per_second": "chars/s",
}
TEXTS = ("run", "state", "corpus", "model")
# Columns of bidirectional models, shown only where a run has such results.
SPECIAL = ("backward", "cloze")
# The order in which columns are kept on a narrow terminal, most needed first.
BY_NEED = (
    *("run", "best val bpc", *SPECIAL, "train ppl", "test bpc", "state", "model"),
    *("steps", "final val bpc", "corpus", "train bpc", "parameters", "chars/s"),
)
MAX_PATH = 500
MAX_DAMAGE = 1_000


def show_runs(overviews: Sequence[Overview], folder: Path, *, damaged: Sequence[str] = ()) -> None:
    """Print one row for each run: the columns that fit on a terminal, all of them elsewhere.

    Args:
        overviews: one for each run.
        folder: the folder of the runs.
        damaged: names of runs that cannot be read; each gets a row that says so.
    """
    console = console_for(sys.stdout)
    if not overviews and not damaged:
        console.print(f"no runs in {printable(str(folder), 1_000)}: `charlm train` makes one")
        return
    columns = _columns(overviews, damaged)
    kept = fitting(columns, BY_NEED, console.width) if is_live(sys.stdout) else columns
    print_whole(console, column_table(kept, texts=TEXTS))
    for overview in overviews:
        if overview.warning:
            console.print(f"{overview.name}: {overview.warning}")
    if partial := [each.name for each in overviews if _lengths(each)]:
        names = ", ".join(partial)
        console.print(f"best val bpc covers the beginning of the validation split, final val bpc all of it: {names}")


def show_run(run: Run, overview: Overview, diagnosis: Diagnosis | None = None) -> None:
    """Print a run's results, its diagnosis and its settings."""
    console = console_for(sys.stdout)
    rows = {title: cells[0] for title, cells in _columns([overview]).items()}
    if lengths := _lengths(overview):
        rows["best val bpc"] += f" (over the first {lengths[0]:,} predicted characters)"
        rows["final val bpc"] += f" (over all {lengths[1]:,})" if overview.val_bpc is not None else ""
    if diagnosis:
        rows["diagnosis"] = diagnosis.sentence
    if overview.warning:
        rows["warning"] = overview.warning
    if parent := run.environment().parent:
        rows["from"] = parent_text(parent)
    rows["path"] = str(run.path)
    rows["checkpoints"] = ", ".join(path.name for path in run.checkpoint_paths()) or "none"
    print_pairs(console, rows.items(), width=14)
    if summary := run.summary():
        console.print("\nresults at the end", style="bold" if is_live(sys.stdout) else None)
        print_pairs(console, result_rows(summary), width=22)
    console.print(f"\n{dump_settings(run.settings())}", end="")


def show_model_file(file: ModelFile) -> None:
    """Print what a model in one file says of itself."""
    console, settings, facts = console_for(sys.stdout), file.checkpoint.settings, file.facts
    network = settings.model
    rows = {
        "file": str(file.path),
        "run": f"{file.run_name}, step {file.checkpoint.step:,}",
        "model": f"{network.cell} {network.num_layers}x{network.hidden_size} {network.direction}",
        "parameters": f"{facts.num_parameters:,}",
        "text": f"{facts.corpus_name}, SHA-256 {facts.corpus_sha256}",
        "license": file.license or "not stated",
    }
    print_pairs(console, rows.items(), width=14)
    if file.results:
        console.print("\nresults at the end", style="bold" if is_live(sys.stdout) else None)
        print_pairs(console, result_rows(file.results), width=22)
    console.print(f"\n{dump_settings(settings)}", end="")


def print_pairs(console: Console, pairs: Iterable[tuple[str, str]], *, width: int) -> None:
    """Print names with values: one line for each, which a terminal wraps below its value.

    Args:
        width: of the names, in characters.
    """
    if not is_live(sys.stdout):
        for name, value in pairs:
            console.print(f"{name:<{width}}{value}")
        return
    table = Table(show_header=False, box=None, padding=0)
    table.add_column(width=width, no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(Text(name), Text(value))
    console.print(table)


def show_verdicts(run: Run, verdicts: Sequence[Verdict]) -> None:
    """Print one line for each checkpoint: its step, its size, and whether it is intact."""
    console = console_for(sys.stdout)
    console.print(printable(str(run.path), MAX_PATH))
    for verdict in verdicts:
        val = "" if verdict.val_nats_per_char is None else f"  validation {verdict.val_nats_per_char:.3f} nats"
        found = Text(printable(verdict.damage, MAX_DAMAGE), "red") if verdict.damage else Text(f"good{val}", "green")
        console.print(Text(f"step {verdict.step:>9,}  {verdict.num_bytes:>13,} bytes  ") + found)


def show_machine(machine: Machine) -> None:
    """Print the facts about this machine that computations depend on."""
    console = console_for(sys.stdout)
    for name, value in {**(machine.versions or {}), **machine}.items():
        if name != "versions":
            console.print(f"{name:<16}{', '.join(value) or 'none' if name == 'gpus' else value}")


def _lengths(overview: Overview) -> tuple[int, int] | None:
    """Return the numbers of characters behind the best and the final validation result, where they differ."""
    best, final = overview.best_val_chars, overview.val_chars
    return None if best is None or final is None or best == final else (best, final)


def _columns(overviews: Sequence[Overview], damaged: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return the cells of each column by its title."""
    columns = {title: [_cell_text(key, each[key]) for each in overviews] for key, title in COLUMNS.items()}
    for name in damaged:
        for title, cells in columns.items():
            cells.append({"run": name, "state": "damaged"}.get(title, NOTHING))
    return {title: cells for title, cells in columns.items() if title not in SPECIAL or set(cells) != {NOTHING}}


def _cell_text(key: str, value: str | float | None) -> str:
    """Return a value with the number of digits that its kind is printed with."""
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return value
    return f"{value:{'.3f' if key.endswith('_bpc') else '.2f' if key.endswith('_perplexity') else ',.0f'}}"
