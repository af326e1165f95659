"""Runs and machines as tables."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from charlm.console.terminal import console_for, is_live
from charlm.errors import printable
from charlm.runs.run import Run
from charlm.settings.loading import dump_settings
from charlm.training.verification import Verdict

COLUMNS = {
    "name": "run",
    "state": "state",
    "corpus": "corpus",
    "model": "model",
    "num_parameters": "parameters",
    "steps": "steps",
    "train_perplexity": "train ppl",
    "best_val_bpc": "val bpc",
    "best_val_backward_bpc": "backward",
    "best_val_cloze_bpc": "cloze",
    "test_bpc": "test bpc",
    "chars_per_second": "chars/s",
}
TEXTS = ("name", "state", "corpus", "model")
# What stays where a terminal is too narrow for all, most needed first.
BY_NEED = (
    "name",
    "best_val_bpc",
    "best_val_backward_bpc",
    "best_val_cloze_bpc",
    "test_bpc",
    "model",
    "train_perplexity",
    "steps",
    "state",
    "corpus",
    "num_parameters",
    "chars_per_second",
)
GAP = 2
MAX_PATH = 500
MAX_DAMAGE = 1_000


def show_runs(overviews: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Print one row for each run: as many columns as the terminal has room for, all of them elsewhere."""
    console = console_for(sys.stdout)
    if not overviews:
        console.print(f"no runs in {printable(str(folder), 1_000)}: `charlm train` makes one", markup=False)
        return
    cells = {key: [title, *(shown(key, each[key]) for each in overviews)] for key, title in _columns(overviews).items()}
    kept = _fitting(cells, console.width) if is_live(sys.stdout) else list(cells)
    for number in range(len(overviews) + 1):
        line = "".join(_padded(key, cells[key], number) for key in kept)
        console.print(line.rstrip(), style="bold" if number == 0 and is_live(sys.stdout) else None, markup=False)
    for overview in overviews:
        if overview["warning"]:
            console.print(f"{overview['name']}: {overview['warning']}", markup=False)


def show_run(run: Run, overview: Mapping[str, Any]) -> None:
    """Print one run's figures and its settings."""
    console = console_for(sys.stdout)
    rows = {title: shown(key, overview[key]) for key, title in _columns([overview]).items()}
    if overview["warning"]:
        rows["warning"] = overview["warning"]
    rows["path"] = str(run.path)
    rows["checkpoints"] = ", ".join(path.name for path in run.checkpoint_paths()) or "none"
    for title, value in rows.items():
        console.print(f"{title:<14}{value}", markup=False)
    console.print(f"\n{dump_settings(run.settings())}", markup=False, end="")


def show_verdicts(run: Run, verdicts: Sequence[Verdict]) -> None:
    """Print one line for each checkpoint: its step, its size, and whether it is whole."""
    console = console_for(sys.stdout)
    console.print(printable(str(run.path), MAX_PATH), markup=False)
    for verdict in verdicts:
        val = "" if verdict.val_nats_per_char is None else f"  validation {verdict.val_nats_per_char:.3f} nats"
        found = Text(printable(verdict.damage, MAX_DAMAGE), "red") if verdict.damage else Text(f"good{val}", "green")
        console.print(Text(f"step {verdict.step:>9,}  {verdict.num_bytes:>13,} bytes  ") + found)


def _columns(overviews: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the columns to show; those of bidirectional models only where there is one."""
    special = ("best_val_backward_bpc", "best_val_cloze_bpc")
    return {
        key: title
        for key, title in COLUMNS.items()
        if key not in special or any(each[key] is not None for each in overviews)
    }


def _fitting(cells: Mapping[str, Sequence[str]], width: int) -> list[str]:
    """Return the columns that fit into a width, in the order they are shown."""
    kept: set[str] = set()
    for key in BY_NEED:
        if key in cells and sum(_width(cells[each]) for each in {*kept, key}) - GAP <= width:
            kept.add(key)
    return [key for key in cells if key in kept]


def _width(cells: Sequence[str]) -> int:
    return max(cell_len(cell) for cell in cells) + GAP


def _padded(key: str, cells: Sequence[str], number: int) -> str:
    padding = " " * (_width(cells) - GAP - cell_len(cells[number]))
    text = cells[number] + padding if key in TEXTS else padding + cells[number]
    return text + " " * GAP


def show_machine(facts: dict[str, Any]) -> None:
    """Print what the computations here would run on."""
    console = console_for(sys.stdout)
    for name, value in {**facts.pop("versions"), **facts}.items():
        console.print(f"{name:<16}{', '.join(value) or 'none' if name == 'gpus' else value}", markup=False)


def shown(key: str, value: Any) -> str:
    """Return a value with the digits its kind is printed with."""
    if value is None:
        return "-"
    if key.endswith("_bpc"):
        return f"{value:.3f}"
    if key.endswith("_perplexity"):
        return f"{value:.2f}"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)
