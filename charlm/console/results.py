"""Every result of a finished run, as `charlm info RUN` shows them."""

from __future__ import annotations

from charlm.console.evaluation import baseline_rows, interval_text
from charlm.console.parents import parent_rows
from charlm.runs.choice import MIN_CHOICE_CHARS
from charlm.runs.rates import Rates
from charlm.runs.records import Summary


def result_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return the closing results as (name, value) lines; each perplexity says which text was measured."""
    rows = [("training", "every step was skipped")]
    if summary.train is not None:
        batches = "the last epoch's own batches" if summary.epochs else "the batches of its unfinished first epoch"
        rows = split_rows(summary.train, "training", f"over {batches}")
    for rates, name in ((summary.val, "validation"), (summary.test, "test")):
        if rates is not None:
            rows += split_rows(rates, name, f"over all {rates.chars:,} predicted characters")
            rows += judging_rows(rates, name)
    rows += parent_rows(summary)
    if summary.warning is not None:
        rows.append(("warning", summary.warning))
    rows += [
        (
            "trained",
            f"{summary.steps:,} steps, {summary.epochs:,} epochs, {summary.seconds:.0f} s; "
            f"{summary.chars_per_second:,.0f} characters/s; ended by {summary.stopped_by}"
            + (f"; {skipped}" if (skipped := skipped_text(summary)) else ""),
        ),
        ("best checkpoint", f"step {summary.best_step:,}{_reason_for_last(summary)}"),
    ]
    return rows


def skipped_text(summary: Summary) -> str:
    """Return how often a loss that was not finite cost a run steps; empty where it never did."""
    counts = ((summary.num_skipped_steps, "step", "skipped"), (summary.num_rollbacks, "rollback", "made"))
    found = [f"{count:,} {noun}{'' if count == 1 else 's'} {verb}" for count, noun, verb in counts if count]
    return f"{' and '.join(found)}, because a loss was not finite" if found else ""


def _reason_for_last(summary: Summary) -> str:
    """Return why the last checkpoint stands in for the best one; nothing where validation chose the best."""
    if summary.is_chosen:
        return ""
    if summary.val is None:
        return ", the last one: without a validation split, none can be chosen as the best"
    return f", the last one: choosing the best takes at least {MIN_CHOICE_CHARS} predicted characters of validation"


def split_rows(rates: Rates, name: str, text: str) -> list[tuple[str, str]]:
    """Return the lines of one split's results: one, or for a bidirectional model one for each readout.

    The cloze readout predicts each character from both its sides, so its pseudo-perplexity is not a perplexity.
    """
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


def judging_rows(rates: Rates, name: str) -> list[tuple[str, str]]:
    """Return what is needed to judge a split's results: other units, interval, hash and baselines.

    Runs of older versions have recorded none of these.
    """
    standing = rates.standing
    if standing is None:
        return []
    parts = [f"{rates.nats:.4f} nats per character", f"{standing.bits_per_byte:.3f} bits per byte"]
    if rates.per_item:
        parts.insert(1, f"{rates.per_item.nats_per_item:.3f} nats per item ({rates.per_item.num_items:,} items)")
    if standing.bpc_interval:
        parts.append(f"95 % interval {interval_text(standing.bpc_interval)}")
    if standing.sha256:
        parts.append(f"SHA-256 {standing.sha256[:12]}")
    rows = [(f"{name}, exactly", ", ".join(parts))]
    beside = baseline_rows(rates.bpc, standing.baselines or {})
    return rows + [(f"{name}, {key}", value) for key, value in beside]
