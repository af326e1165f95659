"""Decide what settings leave open before anything is built: by the text, the machine, a recipe and the clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from charlm.errors import TextError
from charlm.runs.choice import choice_warnings, predicted_chars
from charlm.runs.parents import Parent
from charlm.settings.schema import Settings
from charlm.text.corpus import Corpus, load_corpus
from charlm.text.known import KNOWN_CORPORA
from charlm.text.notices import Notice
from charlm.text.parts import part_notices
from charlm.text.splits import Split, split_corpus
from charlm.text.vocabulary import Vocabulary
from charlm.training.choosing import fill_in
from charlm.training.fitting import cut_notices, fit_to_minutes
from charlm.training.parent import find_parent, known_symbols, parent_notices
from charlm.training.resolution import Resolved, resolve, this_machine
from charlm.training.timetable import Timetable


@dataclass(frozen=True)
class Decided:
    """A text, and what a run does with it.

    Args:
        corpus: the corpus.
        parts: its splits in the order of the text.
        split: its splits, each in the order in which the model reads it.
        resolved: the settings, with nothing left open.
        timetable: when the run ends.
        notices: what a person should know before the run begins: about its parent, its text, its splits, its end, and
            how its implementation was chosen by trial steps.
        parent: the checkpoint that a new run starts from, if it starts from one.
    """

    corpus: Corpus
    parts: Split
    split: Split
    resolved: Resolved
    timetable: Timetable
    notices: tuple[Notice, ...] = ()
    parent: Parent | None = None


def decide(
    asked: Settings, *, resumed: bool = False, runs_dir: Path | None = None, begun: Vocabulary | None = None
) -> Decided:
    """Load the corpus and decide what the settings leave open; nothing is built and nothing of a run is written.

    Args:
        asked: the settings that the user wrote, or those of a run that is resumed.
        resumed: whether they are those of a run that is resumed.
        runs_dir: where a run to start from is looked for by its name; None means CHARLM_RUNS_DIR or ./runs.
        begun: the symbols of a run that started from another and is resumed: it does not need that run any more.
    Raises:
        CharlmError: if text, settings and machine cannot go together.
    """
    began = time.monotonic()
    asked, parent = find_parent(asked, runs_dir, begun)
    machine = this_machine(asked)
    corpus = load_corpus(asked.corpus, asked.vocabulary, known=known_symbols(asked, parent, begun))
    try:
        filled = fill_in(asked, corpus)
        parts = split_corpus(corpus, filled.corpus, filled.sampling)
        split = parts.in_reading_order(filled.model.direction)
        if filled is not asked:
            machine = this_machine(filled)
        resolved = resolve(filled, corpus, split, machine)
    except TextError as error:
        # The text may be too short because of what was left out of it.
        read = "; ".join(notice.sentence for notice in corpus.notices)
        raise TextError(f"{error} ({read})" if read else str(error)) from error
    spent = time.monotonic() - began
    resolved, timetable = fit_to_minutes(resolved, len(corpus.vocabulary), split, resumed=resumed, spent=spent)
    notices = (
        *parent_notices(parent),
        *corpus.notices,
        *(() if resumed else cut_notices(resolved, len(corpus.vocabulary), split)),
        *_split_notices(parts, resolved.settings, corpus.vocabulary),
        *resolved.notices,
    )
    return Decided(corpus, parts, split, resolved, timetable, notices, parent)


def _split_notices(parts: Split, settings: Settings, vocabulary: Vocabulary) -> Iterator[Notice]:
    """Yield what a person should know about the splits, and about what is chosen by validation."""
    num_chars = None if parts.val is None else predicted_chars(settings, len(parts.val.ids))
    useless = list(choice_warnings(settings, num_chars))
    # Items are shuffled, so their splits are alike.
    is_known = settings.corpus.name in KNOWN_CORPORA or settings.corpus.items is not None
    yield from part_notices(parts, vocabulary, is_known=is_known, has_choice=not useless)
    yield from (Notice(sentence, is_warning=True) for sentence in useless)


def is_open(asked: Settings) -> bool:
    """Say whether a recipe or the clock has something to decide."""
    return is_fitted(asked) or asked.train.recipe is not None


def is_fitted(asked: Settings) -> bool:
    """Say whether minutes decide how many steps a run takes; steps or epochs that are given replace them."""
    train = asked.train
    return train.fit_minutes is not None and train.max_steps is None and train.epochs is None
