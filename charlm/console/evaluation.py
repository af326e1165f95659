"""Evaluations as a person sees them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.progress import Progress

from charlm.console.terminal import console_for, is_live

NO_BETTER = "a table of 5-grams predicts this text as well or better: train longer, or a larger model"


def interval_text(interval: Sequence[float]) -> str:
    """Return an interval of bits per character; how it comes about stands in evaluation/intervals.py."""
    return f"{interval[0]:.3f} to {interval[1]:.3f} bits per character"


def baselines_text(baselines: Mapping[str, float]) -> str:
    """Return what simpler models make of the same text, in bits per character."""
    return ", ".join(f"{name} {bits:.3f}" for name, bits in baselines.items()) + " bits per character"


@contextmanager
def evaluation_progress() -> Generator[Callable[[int, int], None]]:
    """Show a bar on standard error while a text is read; yield what takes (characters done, of how many)."""
    console = console_for(sys.stderr)
    with Progress(console=console, disable=not is_live(sys.stderr), transient=True) as progress:
        task = progress.add_task("reading", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def show_figures(record: Mapping[str, Any]) -> None:
    """Print what `charlm eval` measured, in all its units."""
    rows = [
        ("perplexity", f"{record['perplexity']:.2f}"),
        ("bits per character", f"{record['bpc']:.3f}"),
        ("bits per byte", f"{record['bits_per_byte']:.3f}"),
        ("nats per character", f"{record['nats_per_char']:.4f}"),
        ("characters", f"{record['chars']:,} predicted, {record['nats']:,.1f} nats in all"),
        ("SHA-256 of the text", record["sha256"]),
    ]
    if record["bpc_interval"]:
        rows.insert(2, ("95 % interval", interval_text(record["bpc_interval"])))
    if "cloze_bpc" in record:
        rows += [
            (
                "backward",
                f"perplexity {record['backward_perplexity']:.2f}, {record['backward_bpc']:.3f} bits per character",
            ),
            ("cloze", f"{record['cloze_bpc']:.3f} bits per character, each from both its sides; no perplexity"),
        ]
    if record["baselines"]:
        rows.append(("beside it", baselines_text(record["baselines"])))
    if record["beats_5gram"] is False:
        rows.append(("warning", NO_BETTER))
    if "warning" in record:
        rows.append(("warning", record["warning"]))
    _show_rows(record, rows)


def show_gaps(record: Mapping[str, Any]) -> None:
    """Print what gap filling costs, from the left side alone and from both."""
    rows = [
        ("gaps", f"{record['num_gaps']:,} of {record['gap']} characters in every {record['every']}"),
        ("forward only", f"{record['forward_bits']:.3f} bits for each gap character"),
        ("both sides", f"{record['both_bits']:.3f} bits for each gap character, {100 * record['saving']:.1f} % fewer"),
    ]
    _show_rows(record, rows)


def _show_rows(record: Mapping[str, Any], rows: Sequence[tuple[str, str]]) -> None:
    console = console_for(sys.stdout)
    heading = f"run {record['run']}, step {record['step']:,}, {record['text']}"
    console.print(heading, style="bold" if is_live(sys.stdout) else None, markup=False)
    for name, value in rows:
        console.print(f"{name:<20}{value}", markup=False)
