"""Runs and machines as tables."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from charlm.console.terminal import console_for, is_live
from charlm.runs.folder import Run
from charlm.settings.layers import dump_settings

COLUMNS = {
    "name": "run",
    "state": "state",
    "corpus": "corpus",
    "model": "model",
    "direction": "direction",
    "num_parameters": "parameters",
    "steps": "steps",
    "train_perplexity": "train ppl",
    "best_val_bpc": "best val bpc",
    "test_bpc": "test bpc",
    "chars_per_second": "characters/s",
}
# Columns only where a run has something to put there.
MORE_COLUMNS = {
    "best_val_backward_bpc": "val backward bpc",
    "best_val_cloze_bpc": "val cloze bpc",
    "warning": "warning",
}
TEXTS = ("name", "state", "corpus", "model", "direction", "warning")


def show_runs(overviews: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Print one row for each run."""
    if not overviews:
        console_for(sys.stdout).print(f"no runs in {folder}: `charlm train` makes one", markup=False)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    columns = _columns(overviews)
    for key, title in columns.items():
        table.add_column(title, justify="left" if key in TEXTS else "right")
    for overview in overviews:
        table.add_row(*(shown(key, overview[key]) for key in columns))
    console = console_for(sys.stdout)
    if not is_live(sys.stdout):
        console.width = 200
    console.print(table)


def show_run(run: Run, overview: Mapping[str, Any]) -> None:
    """Print one run's figures and its settings."""
    console = console_for(sys.stdout)
    for key, title in _columns([overview]).items():
        console.print(f"{title:<18}{shown(key, overview[key])}", markup=False)
    console.print(f"{'path':<18}{run.path}", markup=False)
    console.print(f"{'checkpoints':<18}{', '.join(path.name for path in run.checkpoint_paths()) or 'none'}")
    console.print(f"\n{dump_settings(run.settings())}", markup=False, end="")


def _columns(overviews: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    more = {key: title for key, title in MORE_COLUMNS.items() if any(each[key] is not None for each in overviews)}
    return COLUMNS | more


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
