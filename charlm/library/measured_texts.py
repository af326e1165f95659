"""The texts that a model is measured on, in the order in which it reads them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from charlm.errors import CharlmError, RunError, TextError, UnknownCharactersWarning
from charlm.library.models import Model
from charlm.runs.texts import encode_files, read_split
from charlm.settings.corpus import UnknownPolicy
from charlm.text.encoding import hash_ids
from charlm.text.splits import Part, Split
from charlm.text.unknown import UnknownCount

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


def choose_text(
    model: Model,
    split: str,
    files: Sequence[str | Path],
    *,
    unknown: UnknownPolicy | None = None,
    parts: Split | None = None,
) -> Part:
    """Return the text that is measured: files, or a part of the run's own corpus.

    Args:
        model: the run's.
        split: train, val or test; not used when files are given.
        files: texts read one after the other, with the run's encoding and cleaning.
        unknown: what becomes of characters in files that the model does not know; None takes the run's
            `corpus.unknown`, and the unknown symbol of a model that has one instead of an error. A `CharlmWarning`
            tells what was skipped or replaced.
        parts: of the run's corpus, where they have been read already.
    Raises:
        ConfigError: for a part that no corpus has.
        RunError: for a part that this run does not have.
        TextError: for files that cannot be read, and as `read_parts`.
    """
    corpus, vocabulary = model.checkpoint.settings.corpus, model.checkpoint.vocabulary
    if files:
        policy = unknown or vocabulary.policy(corpus.unknown)
        read = encode_files(model.checkpoint, files, unknown=policy, remedy=model.unknown_remedy)
        if read.notice:
            warnings.warn(read.notice, UnknownCharactersWarning, stacklevel=4)
        return Part(read.ids, hash_ids(read.ids, vocabulary), read.count).in_reading_order(model.direction)
    if part := (parts or read_parts(model)).part(split):
        num_replaced = np.count_nonzero(part.ids == len(vocabulary.characters)) if vocabulary.has_unknown else 0
        return replace(part, unknown=UnknownCount(replaced=int(num_replaced)))
    raise RunError(f"the run {model.run.name} has no {split} part (corpus.split {corpus.split})")


def choose_predictable_text(
    model: Model,
    split: str,
    files: Sequence[str | Path],
    *,
    unknown: UnknownPolicy | None = None,
    parts: Split | None = None,
) -> Part:
    """Return the text that is measured; see `choose_text`.

    Raises:
        TextError: for a text of fewer than two characters, too.
    """
    part = choose_text(model, split, files, unknown=unknown, parts=parts)
    if len(part.ids) < 2:
        raise TextError(f"the text has {len(part.ids)} characters: at least two are needed to predict one")
    return part


def of_total(report: Callable[[int, int], None] | None, total: int) -> Callable[[int], None]:
    """Return what takes the characters done, and tells them with their total to whoever wants to know."""
    return lambda done: report(done, total) if report else None
