"""Evaluations as a person sees them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.progress import Progress

from charlm.console.terminal import console_for, is_live
from charlm.evaluation.figure import Figure


@contextmanager
def evaluation_progress() -> Generator[Callable[[int, int], None]]:
    """Show a bar on standard error while a text is read; yield what takes (characters done, of how many)."""
    console = console_for(sys.stderr)
    with Progress(console=console, disable=not is_live(sys.stderr), transient=True) as progress:
        task = progress.add_task("reading", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def show_figure(figure: Figure, heading: str) -> None:
    """Print one figure in all its units."""
    console = console_for(sys.stdout)
    console.print(heading, style="bold" if is_live(sys.stdout) else None, markup=False)
    console.print(f"perplexity          {figure.perplexity:.2f}")
    console.print(f"bits per character  {figure.bits_per_char:.3f}")
    console.print(f"nats per character  {figure.nats_per_char:.4f}")
    console.print(f"characters          {figure.num_predicted:,} predicted, {figure.nats:,.1f} nats in all")
