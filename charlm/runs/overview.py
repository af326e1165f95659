"""What a table of runs shows of each."""

from __future__ import annotations

from dataclasses import dataclass

from charlm.errors import printable
from charlm.networks.leaky import WARNING
from charlm.runs.facts import Environment
from charlm.runs.history import History
from charlm.runs.json_records import Record
from charlm.settings.model import ModelSettings

MAX_SHOWN = 1_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Overview(Record):
    """A run in a table of many; figures that it does not have yet are None.

    Args:
        name: of the run.
        state: running, unfinished, diverged, or what has ended it.
        corpus: its name, or those of its files.
        model: cell, layers and hidden size, and the direction where it is not forward.
        direction: of the model.
        num_parameters: trained ones.
        steps: until the last evaluation.
        train_perplexity: of the last whole epoch's own batches.
        train_bpc: the same in bits.
        best_val_bpc: the lowest of the evaluations; of a bidirectional model, of its forward half.
        best_val_chars: that it predicted: of the whole part, or of its beginning.
        best_val_backward_bpc: of its backward half, at that evaluation.
        best_val_cloze_bpc: of both halves, at that evaluation.
        val_bpc: of the whole validation part, read at the end.
        val_chars: that it predicted.
        test_bpc: of the whole test part, read at the end.
        chars_per_second: since the last evaluation but one.
        warning: what must stand beside every figure of a leaky model.
    """

    name: str
    state: str
    corpus: str
    model: str
    direction: str
    num_parameters: int
    steps: int
    train_perplexity: float | None
    train_bpc: float | None
    best_val_bpc: float | None
    best_val_chars: int | None
    best_val_backward_bpc: float | None
    best_val_cloze_bpc: float | None
    val_bpc: float | None
    val_chars: int | None
    test_bpc: float | None
    chars_per_second: float | None
    warning: str | None


def overview_of(
    name: str, model: ModelSettings, environment: Environment, history: History, *, is_running: bool
) -> Overview:
    """Return what a table of runs shows of the run of a name."""
    latest, best, end = history.latest, history.best, history.summary
    both_ways = best.both_ways if best else None
    direction = "" if model.direction == "forward" else f" {model.direction}"
    stopped = end.stopped_by if end else "diverged" if history.divergence else "unfinished"
    return Overview(
        name=name,
        state="running" if is_running else stopped,
        corpus=printable(environment.corpus_name, MAX_SHOWN),
        model=f"{model.cell} {model.num_layers}x{model.hidden_size}{direction}",
        direction=model.direction,
        num_parameters=environment.num_parameters,
        steps=latest.step if latest else 0,
        train_perplexity=history.train.perplexity if history.train else None,
        train_bpc=history.train.bpc if history.train else None,
        best_val_bpc=best.bpc if best else None,
        best_val_chars=best.chars if best else None,
        best_val_backward_bpc=both_ways.backward_bpc if both_ways else None,
        best_val_cloze_bpc=both_ways.cloze_bpc if both_ways else None,
        val_bpc=end.val.bpc if end and end.val else None,
        val_chars=end.val.chars if end and end.val else None,
        test_bpc=end.test.bpc if end and end.test else None,
        chars_per_second=latest.chars_per_second if latest else None,
        warning=WARNING if model.direction == "leaky" else None,
    )
