"""Describe the run that another one started from, and what was learned and forgotten since."""

from __future__ import annotations

from charlm.errors import printable
from charlm.runs.facts import ParentFacts
from charlm.runs.rates import Rates
from charlm.runs.records import Summary
from charlm.text.notices import times

MAX_PATH = 1_000


def parent_line(parent: ParentFacts) -> str:
    """Return one line that says what a run starts from and what that model makes of both texts."""
    before = [
        f"{what} with {_rates(rates)}"
        for what, rates in (("this validation split", parent.val), ("that of its own text", parent.old_val))
        if rates is not None
    ]
    read = f", whose model reads {', and '.join(before)}" if before else ""
    problem = f"; {parent.old_text}" if parent.old_text else ""
    return f"starts from the run {parent.name}, step {parent.step:,}{read}{problem}"


def learned_text(summary: Summary, parent: ParentFacts | None) -> str | None:
    """Return what a run has learned and forgotten since its parent, in one line; None without a parent.

    Args:
        summary: the closing record.
        parent: what is recorded about the parent.
    """
    if parent is None:
        return None
    parts = [f"{parent.name}, step {parent.step:,}"]
    for what, before, now in (
        ("this validation split", summary.parent_val, summary.val),
        (f"that of {parent.name}'s text", summary.parent_old_val, summary.old_val),
    ):
        if before is not None and now is not None:
            parts.append(f"{what} {before.bpc:.3f} bits per character before, {now.bpc:.3f} now")
    return "; ".join([*parts, *([summary.old_text] if summary.old_text else [])])


def parent_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return the lines of `charlm info RUN` about what was learned and forgotten; none without a parent."""
    rows = [
        (name, _rates(rates))
        for name, rates in (
            ("validation, before", summary.parent_val),
            ("old text, before", summary.parent_old_val),
            ("old text, now", summary.old_val),
        )
        if rates is not None
    ]
    return [*rows, *([("old text", summary.old_text)] if summary.old_text else [])]


def parent_text(parent: ParentFacts) -> str:
    """Return the name, step, path and weights of a parent."""
    added = f"; {times(len(parent.added), 'character')} added to its vocabulary" if parent.added else ""
    weights = f"SHA-256 of its weights {parent.weights_sha256[:12]}"
    return f"{parent.name}, step {parent.step:,} ({printable(parent.path, MAX_PATH)}), {weights}{added}"


def _rates(rates: Rates) -> str:
    both = f", cloze {rates.both_ways.cloze_bpc:.3f} bits" if rates.both_ways else ""
    return f"perplexity {rates.perplexity:.2f} ({rates.bpc:.3f} bits per character{both})"
