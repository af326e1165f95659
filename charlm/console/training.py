"""Show the progress of a run: a live display on a terminal, one plain line for each report elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from charlm.console.parents import parent_line
from charlm.console.terminal import console_for, escaped, is_live
from charlm.evaluation.figure import Figures
from charlm.runs.facts import PartFacts, num_cores
from charlm.settings.model import LEAKY_WARNING
from charlm.training.events import (
    Divergence,
    End,
    Evaluation,
    Plan,
    Refit,
    Samples,
    Start,
    Step,
    TrainingEvent,
    Unsaved,
)


class TrainingView:
    """Draw the reports of one run on standard error.

    Args:
        quiet: draw nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.is_live = is_live(sys.stderr) and not quiet
        self.console = console_for(sys.stderr)
        self.progress = Progress(
            BarColumn(bar_width=16),
            TextColumn("{task.fields[figures]}", markup=False),
            _TimeLeft(),
            console=self.console,
            disable=not self.is_live,
            transient=True,
        )
        self.start: Start | None = None
        self.smoothed = 0.0
        self.warning = ""
        self.needs_header = True

    @contextmanager
    def showing(self) -> Generator[TrainingView]:
        """Show the live display while the run trains; the cursor is restored however it ends."""
        with self.progress:
            yield self

    def show(self, report: TrainingEvent) -> None:
        """Draw one report."""
        if self.quiet:
            return
        match report:
            case Start():
                self._begin(report)
            case Step():
                self._advance(report)
            case Evaluation():
                self._show_evaluation(report)
            case Samples():
                self._show_samples(report)
            case Refit():
                self._move_end(report)
            case Divergence():
                self._warn(f"{report.sentence}; {report.went_on}")
            case Unsaved():
                self._warn(
                    f"the checkpoint of step {report.step:,} could not be saved: {report.sentence}; training continues"
                )
            case End():
                pass

    def _begin(self, report: Start) -> None:
        self.start = report
        if report.facts.direction == "leaky":
            self.warning = f"  ({LEAKY_WARNING})"
        for line in start_lines(report):
            self.console.print(line)
        if report.facts.parent is not None and report.resumed_at is None:
            self.console.print(parent_line(report.facts.parent))
        for notice in report.notices:
            if notice.is_warning:
                self._warn(notice.sentence)
            else:
                self.console.print(Text(f"note: {one_line(notice.sentence)}", style="dim"))
        if report.note:
            self._warn(report.note)
        if (threads := report.facts.machine.threads or 1) > (cores := num_cores()):
            self._warn(f"{threads} threads on {cores} core{'s' * (cores != 1)} are slower than train.threads={cores}")
        total = 1.0 if report.planned_steps is None else float(report.planned_steps)
        self.progress.add_task("training", total=total, figures="")

    def _move_end(self, report: Refit) -> None:
        self.progress.update(self.progress.task_ids[0], total=float(report.last_step))
        before = 0 if report.before is None else report.before
        load = "slower" if report.last_step < before else "faster"
        note = (
            f"note: the machine has become {load}: {report.last_step:,} steps fit into the time instead of {before:,}"
        )
        self.console.print(Text(note, style="dim"))

    def _warn(self, sentence: str) -> None:
        self.console.print(Text(f"warning: {one_line(sentence)}", style="yellow"))

    def _advance(self, report: Step) -> None:
        if not self.is_live or self.start is None:
            return
        rate = report.figures.main.num_predicted / report.step_seconds
        self.smoothed = rate if self.smoothed == 0.0 else 0.95 * self.smoothed + 0.05 * rate
        speed = f"{self.smoothed:,.0f} characters/s"
        figures = f"step {report.step:,}  perplexity {report.figures.main.perplexity:.2f}  {speed}{self.warning}"
        self.progress.update(self.progress.task_ids[0], completed=self._completed(report), figures=figures)

    def _show_evaluation(self, report: Evaluation) -> None:
        if not self.is_live:
            self.console.print(evaluation_line(report) + self.warning)
            return
        columns = evaluation_columns(report)
        if self.needs_header:
            self.console.print(Text("".join(f"{name:>{width}}" for name, _, width in columns), style="bold"))
            if report.val is not None and report.is_partial:
                note = f"(* over the first {report.val.main.num_predicted + 1:,} characters of the validation split)"
                self.console.print(Text(note, style="dim"))
            self.needs_header = False
        row = "".join(f"{value:>{width}}" for _, value, width in columns)
        self.console.print(Text(row, style="green" if report.is_best else "") + Text(self.warning, style="red"))

    def _completed(self, report: Step) -> float:
        """Return the progress towards whichever limit ends the run first, in units of the bar."""
        assert self.start is not None
        by_steps = report.step / self.start.planned_steps if self.start.planned_steps else 0.0
        by_time = report.seconds / (60 * self.start.minutes) if self.start.minutes else 0.0
        return max(by_steps, by_time) * (self.start.planned_steps or 1)

    def _show_samples(self, report: Samples) -> None:
        if not self.is_live:
            for prefix, text in zip(report.prefixes, report.continuations, strict=True):
                shown = f"{text!r} <- {prefix!r}" if report.is_backward else f"{prefix!r} -> {text!r}"
                self.console.print(f"sample  {shown}")
            return
        table = Table(title=f"samples after step {report.step:,}", title_justify="left", show_header=False)
        for prefix, text in zip(report.prefixes, report.continuations, strict=True):
            # Adding to a Text would extend its style to the addition.
            pieces = [(one_line(prefix), "bold cyan"), one_line(text)]
            table.add_row(Text.assemble(*(pieces[::-1] if report.is_backward else pieces)))
        self.console.print(table)
        self.needs_header = True


class _TimeLeft(ProgressColumn):
    """The time left until the first limit is reached."""

    def render(self, task: Task) -> Text:
        return TimeRemainingColumn(compact=True).render(task) + Text(" left")


def start_lines(report: Start) -> list[str]:
    """Return lines that describe a run: its corpus, its model and machine, its folder, and what fits into its time."""
    facts = report.facts
    splits: Mapping[str, PartFacts | None] = vars(facts.split) if facts.split else {}
    sizes = ", ".join(f"{name} {_size(part)}" for name, part in splits.items() if part)
    dropped = f"; {facts.dropped_chars:,} characters at window ends are left out of each epoch"
    # The kernels only matter to a run on the CPU.
    kernels = f" ({facts.machine.kernels})" if facts.implementation == "native" or facts.device == "cpu" else ""
    # float32 goes without saying.
    precision = f", products in {report.precision}" if report.precision == "bfloat16" else ""
    lines = [
        f"corpus {facts.corpus_name}: {facts.corpus_chars:,} characters, {facts.vocab_size:,} symbols; "
        f"{sizes}{'' if facts.split and facts.split.train.num_items else dropped}",
        f"{facts.num_parameters:,} parameters on {facts.device}, CPU threads: {facts.machine.threads}, "
        f"implementation {facts.implementation}{kernels}{precision}",
        f"run {report.run}" + ("" if report.resumed_at is None else f", resumed at step {report.resumed_at:,}"),
    ]
    if report.plan is None:
        return lines
    done_at = None if report.resumed_at else datetime.now() + timedelta(minutes=report.plan.minutes)
    return [*lines, plan_line(report.plan, done_at)]


def plan_line(plan: Plan, done_at: datetime | None = None) -> str:
    """Return what a run does and how long that takes as one line."""
    chosen = f"the automatic recipe: {plan.network}" if plan.is_automatic else plan.network
    epochs = f"{plan.epochs:,.0f} epochs" if plan.epochs >= 10 else f"{plan.epochs:.1f} epochs"
    until = "" if done_at is None else f", done at about {done_at:%H:%M}"
    speed = f"at {plan.chars_per_second:,.0f} characters/s{until}"
    steps = f"{chosen}; {plan.steps:,} step{'s' * (plan.steps != 1)} ({epochs})"
    if plan.is_fitted:
        return f"{steps} fit into {plan.minutes:.3g} minute{'s' * (plan.minutes != 1)} {speed}"
    time = f"{plan.minutes:.3g} minutes" if plan.minutes >= 2 else f"{max(1.0, 60 * plan.minutes):.0f} s"
    return f"{steps} take about {time} {speed}"


def _size(part: PartFacts) -> str:
    return f"{part.chars:,}" if part.num_items is None else f"{part.num_items:,} items"


def evaluation_line(report: Evaluation) -> str:
    """Return an evaluation as one line."""
    parts = [
        f"epoch {report.epoch:,}",
        f"step {report.step:,}",
        f"recent training perplexity {_perplexity(report.recent)}",
    ]
    if report.val is not None:
        val = report.val.main
        partly = f" over the first {val.num_predicted + 1:,} characters" if report.is_partial else ""
        bits = f"{val.bits_per_char:.3f} bpc{other_readouts(report.val)}"
        parts.append(f"validation perplexity {val.perplexity:.2f} ({bits}){partly}")
    parts += [
        f"learning rate {report.learning_rate:.3g}",
        f"gradient norm {report.gradient_norm:.2f}",
        f"{report.chars_per_second:,.0f} characters/s",
    ]
    if report.epoch_seconds is not None:
        parts.append(f"{report.epoch_seconds:.1f} s per epoch")
    return "  ".join(parts)


def _perplexity(figures: Figures | None) -> str:
    return "-" if figures is None else f"{figures.main.perplexity:.2f}"


def evaluation_columns(report: Evaluation) -> list[tuple[str, str, int]]:
    """Return an evaluation as (name, value, width) columns that fit a terminal of 80 characters.

    A star marks a validation result over less than the whole split.
    """
    columns = [
        ("epoch", f"{report.epoch:,}", 6),
        ("step", f"{report.step:,}", 7),
        ("recent ppl", _perplexity(report.recent), 11),
    ]
    if report.val is not None:
        star = "*" if report.is_partial else ""
        columns += [
            ("val ppl" + star, f"{report.val.main.perplexity:.2f}", 9),
            ("val bpc" + star, f"{report.val.main.bits_per_char:.3f}", 9),
        ]
    if report.val is not None and report.val.backward is not None and report.val.cloze is not None:
        # These leave no room for the learning rate, which is in metrics.jsonl.
        columns += [
            ("backward", f"{report.val.backward.bits_per_char:.3f}", 9),
            ("cloze", f"{report.val.cloze.bits_per_char:.3f}", 6),
        ]
    else:
        columns.append(("rate", f"{report.learning_rate:.2g}", 8))
    columns += [
        ("norm", f"{report.gradient_norm:.2f}", 6),
        ("chars/s", f"{report.chars_per_second:,.0f}", 9),
        ("s/epoch", "" if report.epoch_seconds is None else f"{report.epoch_seconds:.1f}", 8),
    ]
    return columns


def other_readouts(figures: Figures) -> str:
    """Return a bidirectional model's backward and cloze results; an empty text for other models."""
    if figures.backward is None or figures.cloze is None:
        return ""
    return f", backward {figures.backward.bits_per_char:.3f} bpc, cloze {figures.cloze.bits_per_char:.3f} bpc"


def one_line(text: str) -> str:
    """Return text on one line, with line ends shown as a sign and control characters escaped."""
    return escaped(text.replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}").replace("\t", "\\t"))
