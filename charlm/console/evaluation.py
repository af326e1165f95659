"""Evaluations as a person sees them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.progress import Progress
from rich.table import Table

from charlm.console.terminal import console_for, is_live
from charlm.errors import printable

MAX_STRETCH = 300
NO_BETTER = "a table of 5-grams predicts this text as well or better: train longer, or a larger model"


def interval_text(interval: Sequence[float]) -> str:
    """Return an interval of bits per character; how it comes about stands in evaluation/intervals.py."""
    return f"{interval[0]:.3f} to {interval[1]:.3f} bits per character"


def baselines_text(baselines: Mapping[str, float]) -> str:
    """Return what simpler models make of the same text, in bits per character."""
    return ", ".join(f"{name} {bits:.3f}" for name, bits in baselines.items()) + " bits per character"


@contextmanager
def evaluation_progress(name: str = "reading") -> Generator[Callable[[int, int], None]]:
    """Show a bar on standard error while a text is read; yield what takes (characters done, of how many)."""
    console = console_for(sys.stderr)
    with Progress(console=console, disable=not is_live(sys.stderr), transient=True) as progress:
        task = progress.add_task(name, total=None)
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


def show_dynamic(record: Mapping[str, Any]) -> None:
    """Print a model's figure, and that of the model as it goes on learning, each under its name."""
    static, dynamic = record["static"], record["dynamic"]
    rows = [
        ("static", _figure_text(static)),
        ("dynamic", f"{_figure_text(dynamic)}, {_saving_text(record['saving'])}"),
        ("characters", f"{static['chars']:,} predicted, {static['nats']:,.1f} and {dynamic['nats']:,.1f} nats in all"),
        ("SHA-256 of the text", static["sha256"]),
        (
            "learning",
            f"rate {dynamic['learning_rate']:g}, decay {dynamic['decay']:g}, after every {dynamic['segment_chars']} "
            f"character{'' if dynamic['segment_chars'] == 1 else 's'}",
        ),
    ]
    for name in ("static", "dynamic"):
        if record[name]["bpc_interval"]:
            rows.insert(-2, (f"95 %, {name}", interval_text(record[name]["bpc_interval"])))
    if dynamic["tuned_chars"]:
        itself = ", which is the text measured here" if dynamic["is_tuned_on_itself"] else ""
        rows.append(("tuned on", f"{dynamic['tuned_chars']:,} characters of the validation part{itself}"))
    if static["baselines"]:
        rows.append(("beside them", baselines_text(static["baselines"])))
    if static["beats_5gram"] is False:
        rows.append(("warning", f"static: {NO_BETTER}"))
    _show_rows(record, rows)


def show_novelty(record: Mapping[str, Any]) -> None:
    """Print the longest stretch of a sample that is copied, and what shares are, beside a held-out text's."""
    longest, other = record["longest"], record["held_out_longest"]
    rows = [
        (
            "sample",
            f"{record['sample_chars']:,} characters, temperature {record['temperature']:g}, seed {record['seed']}",
        ),
        ("held-out text", f"{record['held_out_chars']:,} characters"),
        ("longest copied", f"{longest['chars']:,} characters; of the held-out text, {other['chars']:,}"),
        ("it reads", printable(longest["text"], MAX_STRETCH)),
    ]
    if "warning" in record:
        rows.append(("warning", record["warning"]))
    _show_rows(record, rows)
    header = ("n", "of the sample's n-grams", "of the held-out text's")
    _show_table(
        "share that stands in the training part",
        [header, *((f"{row['n']:,}", *map(_share_text, (row["sample"], row["held_out"]))) for row in record["ngrams"])],
    )


def _show_table(title: str, rows: Sequence[Sequence[str]]) -> None:
    """Print rows, the first of which is their header: a table on a terminal, fields between tabs elsewhere."""
    console = console_for(sys.stdout)
    console.print(f"\n{title}", style="bold" if is_live(sys.stdout) else None, markup=False)
    if not is_live(sys.stdout):
        for row in rows:
            print("\t".join(row))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in rows[0]:
        table.add_column(column, justify="right")
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)


def _figure_text(record: Mapping[str, Any]) -> str:
    return f"perplexity {record['perplexity']:.2f}, {record['bpc']:.3f} bits per character"


def _saving_text(saving: float) -> str:
    return f"{100 * abs(saving):.1f} % {'more' if saving < 0 else 'fewer'}"


def _share_text(share: float | None) -> str:
    return "none so long" if share is None else f"{100 * share:.2f} %"


def _show_rows(record: Mapping[str, Any], rows: Sequence[tuple[str, str]]) -> None:
    console = console_for(sys.stdout)
    heading = f"run {record['run']}, step {record['step']:,}, {record['text']}"
    console.print(heading, style="bold" if is_live(sys.stdout) else None, markup=False)
    for name, value in rows:
        console.print(f"{name:<20}{value}", markup=False)
