"""Find the texts that a model is measured on, in the order in which it reads them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from charlm.errors import CharlmError, CharlmWarning, ConfigError, RunError, TextError, UnknownCharactersWarning
from charlm.library.models import Model
from charlm.runs.texts import encode_files, read_split
from charlm.settings.corpus import UnknownPolicy
from charlm.text.encoding import hash_ids
from charlm.text.items import with_boundaries
from charlm.text.splits import Part, Split
from charlm.text.unknown import UnknownCount

OTHER_ADVICE = ", or evaluate another with --corpus"


def read_parts(model: Model) -> Split:
    """Return the splits of a run's own corpus.

    Raises:
        TextError: for a corpus that is missing, has changed or cannot be read.
    """
    return read_split(model.run, model.checkpoint).in_reading_order(model.direction)


def read_known_parts(model: Model, purpose: str) -> Split:
    """Return the splits of a run's own corpus where the training split is needed as one running text.

    Args:
        model: the model of the run.
        purpose: what needs the training split, for messages.
    Raises:
        TextError: as for `read_parts`.
        ConfigError: for a model of items.
    """
    if model.end is not None:
        raise ConfigError(
            f"{purpose} needs a model of running text, and the run {model.run.name} has learned single items: charlm "
            "eval measures them, and charlm generate --new writes new ones"
        )
    try:
        return read_parts(model)
    except CharlmError as error:
        # Measuring another text would need the same training split.
        reason = str(error).removesuffix(OTHER_ADVICE)
        raise type(error)(f"{purpose} needs the training split of the run {model.run.name}: {reason}") from error


def choose_text(
    model: Model,
    split: str,
    files: Sequence[str | Path],
    *,
    unknown: UnknownPolicy | None = None,
    parts: Split | None = None,
) -> Part:
    """Return the text to measure: files, or a split of the run's own corpus.

    Args:
        model: the model of the run.
        split: train, val or test; not used when files are given.
        files: texts to read one after another, with the run's encoding and cleaning.
        unknown: what to do with characters in files that the model does not know. None takes the run's
            `corpus.unknown`, where a model with an unknown symbol uses it instead of raising an error. A
            `CharlmWarning` reports what was skipped or replaced.
        parts: the splits of the run's corpus, if they have already been read.
    Raises:
        ConfigError: for a split that no corpus has.
        RunError: for a split that this run does not have.
        TextError: for files that cannot be read, and as for `read_parts`.
    Warns:
        CharlmWarning: for the validation split of an ensemble, whose weights were fitted to it.
    """
    corpus, vocabulary = model.checkpoint.settings.corpus, model.checkpoint.vocabulary
    if files:
        policy = unknown or vocabulary.policy(corpus.unknown)
        read = encode_files(model.checkpoint, files, unknown=policy, remedy=model.unknown_remedy)
        if read.notice:
            warnings.warn(read.notice, UnknownCharactersWarning, stacklevel=4)
        boundary = model.boundary
        ids = read.ids if boundary is None else with_boundaries(read.ids, boundary)
        return Part(ids, hash_ids(ids, vocabulary), read.count, boundary).in_reading_order(model.direction)
    if split == "val" and (told := model.networks.told_of_validation):
        warnings.warn(told, CharlmWarning, stacklevel=4)
    if part := (parts or read_parts(model)).part(split):
        num_replaced = np.count_nonzero(part.ids == len(vocabulary.characters)) if vocabulary.has_unknown else 0
        return replace(part, unknown=UnknownCount(replaced=int(num_replaced)))
    raise RunError(f"the run {model.run.name} has no {split} split (corpus.split {corpus.split})")


def choose_predictable_text(
    model: Model,
    split: str,
    files: Sequence[str | Path],
    *,
    unknown: UnknownPolicy | None = None,
    parts: Split | None = None,
) -> Part:
    """Return the text to measure; see `choose_text`.

    Raises:
        TextError: also for a text of fewer than two characters.
    """
    part = choose_text(model, split, files, unknown=unknown, parts=parts)
    if part.num_items == 0:
        raise TextError("the text has no items: all of them are empty")
    if len(part.ids) < 2:
        raise TextError(f"the text has {len(part.ids)} characters: at least two are needed to predict one")
    return part


def of_total(report: Callable[[int, int], None] | None, total: int) -> Callable[[int], None]:
    """Wrap a (done, total) callback as a (done) callback; None becomes a callback that does nothing."""
    return lambda done: report(done, total) if report else None
