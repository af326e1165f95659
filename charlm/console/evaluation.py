"""Print the results of `charlm eval` for people."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from charlm.console.terminal import console_for, is_live
from charlm.errors import printable
from charlm.evaluation.adaptive import INSTALL, AdaptiveFigure
from charlm.evaluation.baselines import COMPRESSORS, NGRAM, best_static
from charlm.evaluation.figure import Figure
from charlm.evaluation.intervals import in_bits
from charlm.evaluation.subject import Subject
from charlm.text.unknown import UnknownCount

if TYPE_CHECKING:
    # These measure with torch, which drawing does not need.
    from charlm.evaluation.assessment import Assessment
    from charlm.evaluation.dynamic import DynamicFigure
    from charlm.evaluation.gaps import GapScore
    from charlm.evaluation.novelty import Novelty

MAX_STRETCH = 300
NO_BETTER = "predicts this text as well or better"


def interval_text(interval: Sequence[float]) -> str:
    """Return an interval of bits per character as text; evaluation/intervals.py describes how it is computed."""
    return f"{interval[0]:.3f} to {interval[1]:.3f} bits per character"


def baseline_rows(
    bpc: float, baselines: Mapping[str, float], adaptive: AdaptiveFigure | None = None
) -> list[tuple[str, str]]:
    """Return the baselines of the same text as (name, value) lines, and a warning if a static one is as good."""
    learning = {name: baselines[name] for name in COMPRESSORS if name in baselines}
    static = {name: bits for name, bits in baselines.items() if name not in learning}
    if adaptive:
        learning[f"PPMd (order {adaptive.order})"] = adaptive.figure.bits_per_char
    rows = [("baselines", _rates_text(static))] if static else []
    if learning:
        rows.append(("adaptive", f"{_rates_text(learning)}; these learn from this text too"))
    best = best_static(baselines)
    if best and best[1] <= bpc:
        name = f"a table of {best[0]}s" if NGRAM.fullmatch(best[0]) else f"the {best[0]} model"
        rows.append(("warning", f"{name} {NO_BETTER}"))
    return rows


def _rates_text(rates: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {bits:.3f}" for name, bits in rates.items()) + " bits per character"


@contextmanager
def stages_progress() -> Generator[Callable[[str, int, int], None]]:
    """Show a bar on standard error during long work; yield a callback that takes (what is done, done, total)."""
    console = console_for(sys.stderr)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not is_live(sys.stderr), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda what, done, total: progress.update(task, description=what, completed=done, total=total)


@contextmanager
def evaluation_progress(name: str = "reading") -> Generator[Callable[[int, int], None]]:
    """Show a bar on standard error while a text is read; yield a callback that takes (characters done, total)."""
    with stages_progress() as report:
        report(name, 0, 1)
        yield lambda done, total: report(name, done, total)


def show_figures(subject: Subject, text: str, measured: Assessment, *, proved_bytes: int | None = None) -> None:
    """Print the result of `charlm eval` in all its units.

    Args:
        subject: the model.
        text: what the text is called.
        measured: the result.
        proved_bytes: how many bytes of code were decoded to the same text; None if that was not tried.
    """
    figures, interval = measured.figures, in_bits(measured.interval)
    main = figures.main
    rows = [
        ("perplexity", f"{main.perplexity:.2f}"),
        ("bits per character", f"{main.bits_per_char:.3f}"),
        *([("95 % interval", interval_text(interval))] if interval else []),
        ("bits per byte", f"{measured.bits_per_byte:.3f}"),
        ("nats per character", f"{main.nats_per_char:.4f}"),
        *(
            [("nats per item", f"{measured.nats_per_item:.3f} ({measured.num_items:,} items)")]
            if measured.num_items
            else []
        ),
        ("characters", f"{main.num_predicted:,} predicted, {main.nats:,.1f} nats in all"),
        *([("proof", _proof_text(proved_bytes, main))] if proved_bytes is not None else []),
        ("SHA-256 of the text", measured.sha256),
    ]
    if figures.backward and figures.cloze:
        cloze = f"{figures.cloze.bits_per_char:.3f} bits per character, predicted from both sides (not a perplexity)"
        rows += [("backward", _figure_text(figures.backward)), ("cloze", cloze)]
    rows += _unknown(measured.unknown)
    rows += baseline_rows(main.bits_per_char, measured.baselines, measured.adaptive)
    _show_rows(subject, text, [*rows, *_warning(subject)])


def show_gaps(subject: Subject, text: str, score: GapScore) -> None:
    """Print the cost of filling gaps, from the left side alone and from both sides."""
    rows = [
        ("gaps", f"{score.num_gaps:,} of {score.gap} characters in every {score.every}"),
        ("forward only", f"{score.forward_bits:.3f} bits for each gap character"),
        ("both sides", f"{score.both_bits:.3f} bits for each gap character, {100 * score.saving:.1f} % fewer"),
        *_unknown(score.unknown),
    ]
    _show_rows(subject, text, rows)


def show_dynamic(subject: Subject, text: str, measured: Assessment, learned: DynamicFigure) -> None:
    """Print the result of the model as it was trained, and of the model as it learns while reading."""
    static, dynamic, adaptation = measured.figures.main, learned.figure, learned.adaptation
    intervals = {"static": in_bits(measured.interval), "dynamic": in_bits(learned.interval)}
    rows = [
        ("static", _figure_text(static)),
        ("dynamic", f"{_figure_text(dynamic)}, {_saving_text(learned.saving(static))}"),
        ("characters", f"{static.num_predicted:,} predicted, {static.nats:,.1f} and {dynamic.nats:,.1f} nats in all"),
        *((f"95 %, {name}", interval_text(interval)) for name, interval in intervals.items() if interval),
        ("SHA-256 of the text", measured.sha256),
        *_unknown(measured.unknown),
        (
            "learning",
            f"rate {adaptation.learning_rate:g}, decay {adaptation.decay:g}, after every {adaptation.segment_chars} "
            f"character{'' if adaptation.segment_chars == 1 else 's'}",
        ),
    ]
    if learned.tuned_chars:
        itself = ", which is the text measured here" if learned.is_tuned_on_itself else ""
        rows.append(("tuned on", f"{learned.tuned_chars:,} characters of the validation split{itself}"))
    beside = baseline_rows(static.bits_per_char, measured.baselines, measured.adaptive)
    rows += [(name, f"static: {value}" if name == "warning" else value) for name, value in beside]
    if measured.baselines and not measured.adaptive:
        rows.append(("not measured", f"PPMd, the adaptive baseline to beat; it needs: {INSTALL}"))
    _show_rows(subject, text, rows)


def show_novelty(subject: Subject, text: str, found: Novelty, *, temperature: float, seed: int) -> None:
    """Print the longest copied stretch of a sample and its copied shares, compared with those of a held-out text."""
    sample, held_out = found.sample, found.held_out
    rows = [
        ("sample", f"{sample.num_chars:,} characters, temperature {temperature:g}, seed {seed}"),
        ("held-out text", f"{held_out.num_chars:,} characters"),
        ("longest copied", f"{sample.longest:,} characters (held-out text: {held_out.longest:,})"),
        ("copied text", printable(found.longest, MAX_STRETCH)),
    ]
    _show_rows(subject, text, [*rows, *_unknown(found.unknown), *_warning(subject)])
    header = ("n", "of the sample's n-grams", "of the held-out text's")
    shares = ((f"{n:,}", _share_text(share), _share_text(held_out.shares[n])) for n, share in sample.shares.items())
    show_table("share of n-grams that occur in the training split", [header, *shares])


def show_table(title: str, rows: Sequence[Sequence[str]]) -> None:
    """Print rows, of which the first is the header: a table on a terminal, tab-separated fields elsewhere."""
    console = console_for(sys.stdout)
    console.print(f"\n{title}", style="bold" if is_live(sys.stdout) else None)
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


def _figure_text(figure: Figure) -> str:
    return f"perplexity {figure.perplexity:.2f}, {figure.bits_per_char:.3f} bits per character"


def _proof_text(num_bytes: int, figure: Figure) -> str:
    expected = figure.bits_per_char * figure.num_predicted / 8
    return f"{num_bytes:,} bytes of code decode to the same text; the bits make {expected:,.1f} bytes"


def _saving_text(saving: float) -> str:
    return f"{100 * abs(saving):.1f} % {'more' if saving < 0 else 'fewer'}"


def _share_text(share: float | None) -> str:
    return "none that long" if share is None else f"{100 * share:.2f} %"


def _unknown(count: UnknownCount) -> list[tuple[str, str]]:
    return [("unknown", count.sentence)] if count.sentence else []


def _warning(subject: Subject) -> list[tuple[str, str]]:
    return [("warning", subject.warning)] if subject.warning else []


def _show_rows(subject: Subject, text: str, rows: Sequence[tuple[str, str]]) -> None:
    console = console_for(sys.stdout)
    heading = f"{subject.heading}, {text}"
    console.print(heading, style="bold" if is_live(sys.stdout) else None)
    for name, value in rows:
        console.print(f"{name:<20}{value}")
