"""What a run came to, as a person sees it at its end: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from charlm.console.evaluation import NO_BETTER, baselines_text, interval_text
from charlm.console.terminal import console_for, is_live
from charlm.reports.diagnosis import Diagnosis
from charlm.runs.choice import MIN_CHOICE_CHARS
from charlm.runs.records import Rates, Summary


def show_summary(summary: Summary, next_command: str, path: Path, *, diagnosis: Diagnosis | None = None) -> None:
    """Print the closing summary on standard output: a table on a terminal, plain lines elsewhere.

    Args:
        summary: of the run.
        next_command: to copy.
        path: of its folder.
        diagnosis: what is the matter with it.
    """
    console = console_for(sys.stdout)
    told = [("diagnosis", diagnosis.sentence)] if diagnosis else []
    rows = [*summary_rows(summary), *told, ("run", str(path))]
    if not is_live(sys.stdout):
        for name, value in [*rows, ("next", next_command)]:
            console.print(f"{name}: {value}")
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in rows:
        table.add_row(name, Text(value, style="bold" if "perplexity" in value else ""))
    console.print(Panel(table, title="done", title_align="left", expand=False))
    # Wrapped, the command would be pasted with line ends in it.
    console.print(Text.assemble("next: ", (next_command, "bold")), soft_wrap=True)


def summary_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return the closing figures as (name, value) lines, each perplexity saying which text it is of."""
    rows = [("training", "every step was skipped")]
    if summary.train is not None:
        batches = "the last epoch's own batches" if summary.epochs else "the batches of its unfinished first epoch"
        rows = figure_rows(summary.train, "training", f"over {batches}")
    for rates, name in ((summary.val, "validation"), (summary.test, "test")):
        if rates is not None:
            rows += figure_rows(rates, name, f"over all {rates.chars:,} predicted characters")
            rows += standing_rows(rates, name)
    if summary.warning is not None:
        rows.append(("warning", summary.warning))
    rows += [
        (
            "trained",
            f"{summary.steps:,} steps, {summary.epochs:,} epochs, {summary.seconds:.0f} s; "
            f"{summary.chars_per_second:,.0f} characters/s; ended by {summary.stopped_by}",
        ),
        ("best checkpoint", f"step {summary.best_step:,}{_chance(summary)}"),
    ]
    return rows


def _chance(summary: Summary) -> str:
    """Return why a checkpoint is the last and not the best, where nothing has chosen it."""
    if summary.is_chosen:
        return ""
    if summary.val is None:
        return ", the last: without a validation part nothing chooses"
    return f", the last: a choice takes {MIN_CHOICE_CHARS} predicted characters of validation"


def figure_rows(rates: Rates, name: str, text: str) -> list[tuple[str, str]]:
    """Return the lines of one text's figures, three for a bidirectional model; only the real ones are perplexities."""
    main = f"perplexity {rates.perplexity:.2f}, {rates.bpc:.3f} bits per character, {text}"
    both = rates.both_ways
    if both is None:
        return [(name, main)]
    backward = f"perplexity {both.backward_perplexity:.2f}, {both.backward_bpc:.3f} bits per character"
    cloze = (
        f"{both.cloze_bpc:.3f} bits per character, pseudo-perplexity {both.cloze_pseudo_perplexity:.2f} "
        "(each character from both its sides)"
    )
    return [(f"{name}, forward", main), (f"{name}, backward", backward), (f"{name}, cloze", cloze)]


def standing_rows(rates: Rates, name: str) -> list[tuple[str, str]]:
    """Return what it takes to judge a text's figures: their units, interval and hash, and simpler models beside them.

    A run of an older charlm has none of it.
    """
    standing = rates.standing
    if standing is None:
        return []
    parts = [f"{rates.nats:.4f} nats per character", f"{standing.bits_per_byte:.3f} bits per byte"]
    if standing.bpc_interval:
        parts.append(f"95 % interval {interval_text(standing.bpc_interval)}")
    if standing.sha256:
        parts.append(f"SHA-256 {standing.sha256[:12]}")
    rows = [(f"{name}, exactly", ", ".join(parts))]
    if standing.baselines:
        rows.append((f"{name}, beside it", baselines_text(standing.baselines)))
    if standing.beats_5gram is False:
        rows.append((f"{name}, warning", NO_BETTER))
    return rows
