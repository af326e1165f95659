"""Print how a training ended, in five lines that a beginner can read; `charlm info RUN` has every result."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from charlm.console.parents import learned_text
from charlm.console.results import skipped_text
from charlm.console.terminal import console_for, is_live
from charlm.console.training import one_line
from charlm.errors import printable
from charlm.evaluation.baselines import COMPRESSORS, NGRAM
from charlm.reports.diagnosis import Diagnosis
from charlm.runs.choice import MIN_CHOICE_CHARS, is_enough
from charlm.runs.facts import ParentFacts
from charlm.runs.records import Sample, Summary

MAX_PATH = 1_000
MAX_SAMPLE = 200
MAX_PREFIX = 60
GIVEN = "bold cyan"
NO_SAMPLE = "none was written"
BASELINES = {
    "uniform": "a uniform guess",
    "unigram": "a unigram model",
    "bigram": "a bigram model",
    "8-gram": "an 8-gram",
    "11-gram": "an 11-gram",
}
PROBLEMS = {
    "diverged": "training diverged",
    "worse_than_uniform": "it has learned next to nothing",
    "overfit": "it has begun to learn its training text by heart",
    "still_falling": "it has not finished learning",
    "underfit": "it stopped improving too early",
}


@dataclass(frozen=True)
class Closing:
    """What the end of a training shows.

    Args:
        summary: the run's closing record.
        path: the run's folder.
        sample: a text that the model wrote; None where none was recorded.
        diagnosis: of the run; None where it cannot be judged.
        next_command: generates text with the model.
        info_command: shows every result of the run.
        longer_command: trains the same for twice as long.
        parent: the checkpoint that the run started from, if it did.
    """

    summary: Summary
    path: Path
    sample: Sample | None
    diagnosis: Diagnosis | None
    next_command: str
    info_command: str
    longer_command: str
    parent: ParentFacts | None = None


def show_closing(closing: Closing) -> None:
    """Print how a training ended on standard output: a panel on a terminal, five plain lines elsewhere."""
    console = console_for(sys.stdout)
    result, path = result_text(closing.summary), printable(str(closing.path), MAX_PATH)
    comparison, is_better = _comparison(closing.summary)
    problems, samples = list(_problems(closing)), _sample_texts(closing.sample)
    quality = "; ".join([comparison, *problems])
    learned = learned_text(closing.summary, closing.parent)
    if not is_live(sys.stdout):
        sample = repr("".join(text for text, _ in samples)) if samples else NO_SAMPLE
        details = f"{path} (details: {closing.info_command})"
        rows = [("result", result), ("quality", quality), ("sample", sample), ("run", details)]
        if learned:
            rows.insert(2, ("from", learned))
        for name, value in [*rows, ("next", closing.next_command)]:
            console.print(f"{name}: {value}")
        return
    table = Table(show_header=False, box=None, padding=0)
    table.add_column(width=8, no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("result", Text(result, style="bold"))
    table.add_row("quality", Text(quality, style="green" if is_better and not problems else "yellow"))
    if learned:
        table.add_row("from", Text(learned))
    table.add_row("sample", Text.assemble(*((one_line(text), style) for text, style in samples or [(NO_SAMPLE, "")])))
    table.add_row("run", Text(f"{path}\ndetails: {closing.info_command}"))
    console.print(Panel(table, title="training is done", title_align="left", expand=False))
    # Wrapped, the command would be pasted with line ends in it.
    console.print(Text.assemble("next: ", (closing.next_command, "bold")), soft_wrap=True)


def result_text(summary: Summary) -> str:
    """Return perplexity and bits per character on the validation split, or on the training split without one."""
    rates = summary.val or summary.train
    if rates is None:
        return "none: every training step was skipped, because its loss was not a finite number"
    where = "on the validation split"
    if summary.val is None:
        where = f"on the training split, during the {'last' if summary.epochs else 'unfinished first'} epoch"
    reading = {"backward": ", read backwards", "bidirectional": ", read forwards"}.get(summary.direction or "", "")
    both = rates.both_ways
    cloze = f"; {both.cloze_bpc:.3f} bits where both sides of a character are known (cloze)" if both else ""
    units = f"{rates.bpc:.3f} bits per character"
    if rates.per_item:
        item = f"{rates.per_item.nats_per_item:.2f} nats per item"
        units = f"{rates.bpc:.3f} bits or {rates.nats:.3f} nats per character, ends included; {item}"
    return f"perplexity {rates.perplexity:.2f} ({units}) {where}{reading}{cloze}"


def _comparison(summary: Summary) -> tuple[str, bool]:
    """Return how the model compares with the best baseline, or why that says nothing; and whether it is better."""
    rates = summary.val or summary.test
    if summary.warning is not None:
        return f"its perplexity means nothing, because the model {summary.warning}", False
    if rates is None:
        return "not measured on any other text, because the corpus has no validation split", False
    if summary.val and not is_enough(summary.val.chars):
        few = (
            f"unknown, because {summary.val.chars:,} predicted characters of validation are too few to judge it by, or "
            f"to choose the best checkpoint ({MIN_CHOICE_CHARS} are needed)"
        )
        return few, False
    where = "" if summary.val else f"{rates.bpc:.3f} bits per character on the test split, "
    # Compressors learn from the text that they are measured on, which the network did not.
    known = (rates.standing.baselines if rates.standing else None) or {}
    static = {name: bits for name, bits in known.items() if name not in COMPRESSORS}
    if not static:
        return f"{where}not compared with any baseline", False
    return where + _compared(rates.bpc, static), rates.bpc < min(static.values())


def _compared(bpc: float, baselines: Mapping[str, float]) -> str:
    """Return whether the best baseline is beaten, and if not, which of the others is."""

    def named(name: str) -> str:
        words = BASELINES.get(name, f"a {name}" if NGRAM.fullmatch(name) else name)
        return f"{words} ({baselines[name]:.3f} bits)"

    first, *others = sorted(baselines, key=lambda name: baselines[name])
    if bpc < baselines[first]:
        return f"better than {named(first)}, the best baseline"
    beaten = next((name for name in others if bpc < baselines[name]), None)
    return f"no better than {named(first)}, the best baseline" + (
        f", but better than {named(beaten)}" if beaten else ""
    )


def _problems(closing: Closing) -> Iterator[str]:
    """Yield, in plain words, everything else that is needed to judge the result."""
    summary, diagnosis = closing.summary, closing.diagnosis
    if summary.stopped_by == "early_stopping":
        best = f" (best at step {summary.best_step:,})" if summary.is_chosen else ""
        yield f"training stopped early, because validation no longer improved{best}"
    if skipped := skipped_text(summary):
        yield skipped
    if summary.val and is_enough(summary.val.chars) and not summary.is_chosen:
        yield "the last checkpoint was kept, because each evaluation read too little text to choose the best"
    if diagnosis is not None and diagnosis.advice:
        problem = PROBLEMS.get(diagnosis.kind)
        if diagnosis.kind == "still_falling":
            yield f"{problem}, go on with: {closing.longer_command}"
            return
        yield f"{problem}: {diagnosis.advice}" if problem else diagnosis.advice


def _sample_texts(sample: Sample | None) -> list[tuple[str, str]]:
    """Return a sample as texts with their styles, in reading order, shortened where it is long; none without one."""
    if sample is None:
        return []
    written = sample.continuation
    more = "..." if len(written) > MAX_SAMPLE else ""
    if sample.suffix is not None:
        return [(more + written[-MAX_SAMPLE:], ""), (sample.suffix[:MAX_PREFIX], GIVEN)]
    return [((sample.prefix or "")[-MAX_PREFIX:], GIVEN), (written[:MAX_SAMPLE] + more, "")]
