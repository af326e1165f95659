"""The texts that a model is measured with, where its training part is needed too: read once, in its own order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from charlm.errors import CharlmError, RunError, TextError
from charlm.library.models import Model
from charlm.runs.texts import encode_files, read_split
from charlm.text.splits import Split, in_reading_order
from charlm.text.vocabulary import Ids

OTHER_ADVICE = ", or measure another with --corpus"


def read_known_parts(model: Model, purpose: str) -> Split:
    """Return the parts of a run's own corpus in the model's reading order.

    Args:
        model: the run's.
        purpose: what needs the training part, for messages.
    Raises:
        TextError: for a corpus that is gone or has changed, and any other error that it cannot be read for.
    """
    try:
        parts = read_split(model.run, model.checkpoint)
    except CharlmError as error:
        # Another text would be measured with the same training part.
        reason = str(error).removesuffix(OTHER_ADVICE)
        raise type(error)(f"{purpose} needs the training part of the run {model.run.name}: {reason}") from error
    return in_reading_order(parts, model.direction)


def choose_text(model: Model, parts: Split, split: str, files: Sequence[str | Path]) -> Ids:
    """Return the text that is measured, in the model's reading order: files, or a part of the run's own corpus.

    Raises:
        ConfigError: for a part that no corpus has.
        RunError: for a part that this run does not have.
        TextError: for a text of fewer than two characters, and files that cannot be read.
    """
    if files:
        ids = encode_files(model.checkpoint, files)
        ids = ids[::-1] if model.direction == "backward" else ids
    elif (part := parts.part(split)) is not None:
        ids = part.ids
    else:
        corpus = model.checkpoint.settings.corpus
        raise RunError(f"the run {model.run.name} has no {split} part (corpus.split {corpus.split})")
    return predictable(ids)


def predictable(ids: Ids) -> Ids:
    """Return a text that has something to predict.

    Raises:
        TextError: for fewer than two characters.
    """
    if len(ids) < 2:
        raise TextError(f"the text has {len(ids)} characters: at least two are needed to predict one")
    return ids


def of_total(report: Callable[[int, int], None] | None, total: int) -> Callable[[int], None]:
    """Return what takes the characters done, and tells them with their total to whoever wants to know."""
    return lambda done: report(done, total) if report else None
