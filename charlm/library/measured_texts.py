"""The texts that a model is measured on, in the order in which it reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from charlm.errors import CharlmError, RunError, TextError
from charlm.library.models import Model
from charlm.runs.texts import encode_files, read_split
from charlm.text.encoding import hash_ids
from charlm.text.splits import Part, Split

OTHER_ADVICE = ", or measure another with --corpus"


def read_parts(model: Model) -> Split:
    """Return the parts of a run's own corpus.

    Raises:
        TextError: for a corpus that is gone or has changed, and any other error that it cannot be read for.
    """
    return read_split(model.run, model.checkpoint).in_reading_order(model.direction)


def read_known_parts(model: Model, purpose: str) -> Split:
    """Return the parts of a run's own corpus where the training part is needed, whatever text is measured.

    Args:
        model: the run's.
        purpose: what needs the training part, for messages.
    Raises:
        TextError: as `read_parts`.
    """
    try:
        return read_parts(model)
    except CharlmError as error:
        # Another text would be measured with the same training part.
        reason = str(error).removesuffix(OTHER_ADVICE)
        raise type(error)(f"{purpose} needs the training part of the run {model.run.name}: {reason}") from error


def choose_text(model: Model, split: str, files: Sequence[str | Path], *, parts: Split | None = None) -> Part:
    """Return the text that is measured: files, or a part of the run's own corpus.

    Args:
        model: the run's.
        split: train, val or test; not used when files are given.
        files: texts read one after the other, with the run's encoding, cleaning and unknown policy.
        parts: of the run's corpus, where they have been read already.
    Raises:
        ConfigError: for a part that no corpus has.
        RunError: for a part that this run does not have.
        TextError: for files that cannot be read, and as `read_parts`.
    """
    if files:
        ids = encode_files(model.checkpoint, files)
        return Part(ids, hash_ids(ids, model.checkpoint.vocabulary)).in_reading_order(model.direction)
    if part := (parts or read_parts(model)).part(split):
        return part
    corpus = model.checkpoint.settings.corpus
    raise RunError(f"the run {model.run.name} has no {split} part (corpus.split {corpus.split})")


def choose_predictable_text(
    model: Model, split: str, files: Sequence[str | Path], *, parts: Split | None = None
) -> Part:
    """Return the text that is measured; see `choose_text`.

    Raises:
        TextError: for a text of fewer than two characters, too.
    """
    part = choose_text(model, split, files, parts=parts)
    if len(part.ids) < 2:
        raise TextError(f"the text has {len(part.ids)} characters: at least two are needed to predict one")
    return part


def of_total(report: Callable[[int, int], None] | None, total: int) -> Callable[[int], None]:
    """Return what takes the characters done, and tells them with their total to whoever wants to know."""
    return lambda done: report(done, total) if report else None
