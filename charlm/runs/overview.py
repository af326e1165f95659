"""One row of a table of runs."""

from __future__ import annotations

from dataclasses import dataclass

from charlm.errors import printable
from charlm.runs.facts import Environment
from charlm.runs.history import History
from charlm.runs.json_records import Record
from charlm.settings.model import LEAKY_WARNING, ModelSettings

MAX_SHOWN = 1_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Overview(Record):
    """A run in a table of many; results that it does not have yet are None.

    Args:
        name: the run's name.
        state: running, unfinished, diverged, or the reason why it ended.
        corpus: the name of the corpus, or those of its files.
        model: cell, layers and hidden size, and the direction if it is not forward; of an ensemble, its members.
        direction: the model's direction.
        num_parameters: number of trained parameters.
        steps: steps up to the last evaluation.
        train_perplexity: perplexity of the last whole epoch's batches.
        train_bpc: the same in bits per character.
        best_val_bpc: the lowest of the evaluations; for a bidirectional model, that of its forward half.
        best_val_chars: how many characters that evaluation predicted, of the whole split or of its beginning.
        best_val_backward_bpc: the backward half's result at that evaluation.
        best_val_cloze_bpc: the result of both halves at that evaluation.
        val_bpc: the result on the whole validation split, read at the end.
        val_chars: how many characters that predicted.
        test_bpc: the result on the whole test split, read at the end.
        chars_per_second: training speed between the last two evaluations.
        warning: the sentence that must accompany every result of a leaky model.
        parent: the name of the run that it started from; None if it started from random weights, like those below.
        parent_step: the step of that run's checkpoint.
        parent_val_bpc: what that checkpoint's model made of the whole validation split.
        parent_old_val_bpc: what it made of its own validation split.
        old_val_bpc: what this run makes of that split, read at the end.
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
    parent: str | None = None
    parent_step: int | None = None
    parent_val_bpc: float | None = None
    parent_old_val_bpc: float | None = None
    old_val_bpc: float | None = None


def overview_of(
    name: str, model: ModelSettings, environment: Environment, history: History, *, is_running: bool
) -> Overview:
    """Return the row of a run in a table of runs."""
    latest, best, end, parent = history.latest, history.best, history.summary, environment.parent
    both_ways = best.both_ways if best else None
    direction = "" if model.direction == "forward" else f" {model.direction}"
    stopped = end.stopped_by if end else "diverged" if history.divergence else "unfinished"
    return Overview(
        name=name,
        state="running" if is_running else stopped,
        corpus=printable(environment.corpus_name, MAX_SHOWN),
        model=environment.ensemble or f"{model.cell} {model.num_layers}x{model.hidden_size}{direction}",
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
        warning=LEAKY_WARNING if model.direction == "leaky" else None,
        parent=parent.name if parent else None,
        parent_step=parent.step if parent else None,
        parent_val_bpc=parent.val.bpc if parent and parent.val else None,
        parent_old_val_bpc=parent.old_val.bpc if parent and parent.old_val else None,
        old_val_bpc=end.old_val.bpc if end and end.old_val else None,
    )
