"""Score how much each character or line of a text surprises a model, and what it expects next."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from charlm.errors import ConfigError, TextError, UnknownCharactersWarning
from charlm.evaluation.characters import ScoredCharacter, score_characters, score_items, with_unknown
from charlm.evaluation.lines import (
    ScoredLine,
    join_lines,
    lines_in_files,
    lines_with_unknown,
    most_surprising,
    score_lines_alone,
)
from charlm.evaluation.next_character import NextCharacter, rank_next
from charlm.library.models import Model, opened
from charlm.runs.run import Run
from charlm.runs.texts import encode_files
from charlm.settings.corpus import UnknownPolicy
from charlm.text.cleaning import clean_text
from charlm.text.encoding import EncodedText, Source, encode_text
from charlm.text.items import begin_item, ended_items
from charlm.text.reading_order import turned


def score(
    model: Model | Run | str | Path,
    text: str | EncodedText | None = None,
    *,
    files: Sequence[str | Path] = (),
    unknown: UnknownPolicy | None = None,
) -> Iterator[ScoredCharacter]:
    """Return each character of a text with its probability, bits, rank and the character that was likeliest.

    The bits add up to the result of `evaluate`. Characters come in the order of the text, also for a backward model.

    Args:
        model: a model from `open_run`, or a run or its name, of which the best checkpoint is used. Results of a leaky
            model must be shown with its `warning`.
        text: a text, to which the run's cleaning is applied; or the result of `read_scored_text`.
        files: files to read one after another, instead of a text.
        unknown: what to do with characters that the model does not know: error, skip or replace. Skipped characters
            are returned too, without results. None takes the run's `corpus.unknown`, where a model with an unknown
            symbol uses it instead of raising an error. A `CharlmWarning` reports what was skipped or replaced.
    Raises:
        ConfigError: for both a text and files, and for neither.
        TextError: for a text without a character that the model knows, and for unknown characters.
        DivergedError: while reading, where a probability is not a number.

    Example:
        >>> first, *others = charlm.score("my-run", "the cat")
        >>> first.character, first.bits, [each.character for each in others if each.bits > 9]
        ('t', None, [])
    """
    model = opened(model)
    read = read_scored_text(model, text, files=files, unknown=unknown)
    characters = score_characters(model.readable, read.ids, read.vocabulary, direction=model.direction)
    if (boundary := model.boundary) is not None:
        characters = score_items(model.readable, read.ids, boundary, read.vocabulary, direction=model.direction)
    return with_unknown(characters, read)


def score_lines(
    model: Model | Run | str | Path,
    text: str | EncodedText | None = None,
    *,
    files: Sequence[str | Path] = (),
    odd: int | None = None,
    alone: bool | None = None,
    unknown: UnknownPolicy | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Iterator[ScoredLine]:
    """Return each line of a text with its bits, in order, or only the oddest lines.

    The bits of a line are those of its characters and its newline. In context, they are the bits that `score` returns,
    and the lines add up to the text. Alone, each line is read between two newlines from the initial state, so that its
    bits depend neither on the other lines nor on their order.

    Args:
        model: a model from `open_run`, or a run or its name, of which the best checkpoint is used.
        text: a text, to which the run's cleaning is applied; or the result of `read_scored_text`.
        files: files to read one after another, instead of a text.
        odd: return only this many lines: first those with characters that the model does not know, then those with the
            most bits per character.
        alone: whether each line is judged alone; None judges lines alone where `odd` is given, else in context. Items
            are always judged alone.
        unknown: as for `score`; but where `odd` is given, an unknown character makes a line odd and is not an error,
            unless this says so.
        report: called with the number of lines done and the total, where they are judged alone.
    Raises:
        ConfigError: for a model without a newline, for both a text and files, and for neither.
        TextError: for a text without a character that the model knows, and for unknown characters.
        DivergedError: while reading, where a probability is not a number.

    Example:
        >>> lines = charlm.score_lines("my-run", files=["mine.txt"], odd=2)
        >>> [line.bits_per_char > 0 for line in lines]
        [True, True]
    """
    model = opened(model)
    if model.end is not None and alone is False:
        raise ConfigError(
            f"the run {model.run.name} has learned single items, which have no context: leave --in-context out"
        )
    read = read_scored_lines(model, text, files=files, unknown=unknown, odd=odd)
    if model.end is not None or alone or (alone is None and odd is not None):
        lines = _lines_alone(model, read, report)
    else:
        lines = join_lines(score(model, read))
    return lines_in_files(lines if odd is None else most_surprising(lines, odd), read)


def next_characters(
    model: Model | Run | str | Path,
    text: str | None = None,
    *,
    files: Sequence[str | Path] = (),
    top: int = 10,
    unknown: UnknownPolicy | None = None,
) -> list[NextCharacter]:
    """Return the characters that a model expects after a text, likeliest first.

    A backward model returns those it expects before the text; a bidirectional model uses its forward half.

    Args:
        model: a model from `open_run`, or a run or its name, of which the best checkpoint is used.
        text: a text with at least one character that the model knows; it is cleaned as a prefix is.
        files: files to read one after another, instead of a text; a final newline is left out.
        top: number of characters to return, at most all that the model knows; all probabilities add up to 1.
        unknown: as for `score`.
    Raises:
        ConfigError: for a leaky model, which must read a character to predict it, and for a `top` below 1.
        TextError: for a text without a character that the model knows, and for unknown characters.
        DivergedError: where a probability is not a number.

    Example:
        >>> likeliest, *others = charlm.next_characters("my-run", "the ", top=3)
        >>> len(others), likeliest.probability >= others[0].probability
        (2, True)
    """
    if top < 1:
        raise ConfigError(f"top must be at least 1, got {top}")
    model = opened(model)
    refuse_leaky(model)
    read = read_scored_text(model, text, files=files, unknown=unknown, is_prefix=True)
    ids = read.ids
    if files and len(ids) > 1 and read.vocabulary.decode(ids[-1:]) == read.line_end:
        ids = ids[:-1]
    ids = begin_item(ids, model.boundary, model.direction, "the text")
    return rank_next(model.networks.main, turned(ids, model.direction), read.vocabulary, top=top)


def refuse_leaky(model: Model) -> None:
    """Refuse to predict the next character with a model that must read it first.

    Raises:
        ConfigError: for a leaky model.
    """
    if model.direction == "leaky":
        raise ConfigError(
            f"the model of run {model.run.name} is leaky: it reads each character before it predicts it, so it "
            "cannot predict the next one"
        )


def read_scored_lines(
    model: Model,
    text: str | EncodedText | None = None,
    *,
    files: Sequence[str | Path] = (),
    unknown: UnknownPolicy | None = None,
    odd: int | None = None,
) -> EncodedText:
    """Return the encoded text whose lines are scored; see `score_lines` and `read_scored_text`.

    Raises:
        ConfigError: also for a model without a newline.
    """
    if (model.end or "\n") not in model.checkpoint.vocabulary.characters:
        raise ConfigError(f"the model of run {model.run.name} knows no newline, so it cannot tell lines apart")
    policy = model.checkpoint.vocabulary.policy(model.checkpoint.settings.corpus.unknown)
    if odd is not None and unknown is None and policy == "error":
        # Lines with unknown characters are what the caller looks for.
        unknown = "skip"
    return read_scored_text(model, text, files=files, unknown=unknown)


def read_scored_text(
    model: Model,
    text: str | EncodedText | None = None,
    *,
    files: Sequence[str | Path] = (),
    unknown: UnknownPolicy | None = None,
    is_prefix: bool = False,
    warn: bool = True,
) -> EncodedText:
    """Return the encoded text to score.

    Args:
        model: a model from `open_run`.
        text: the text; one that is already encoded is returned unchanged.
        files: files to read instead of a text.
        unknown: as for `score`.
        is_prefix: whether the text may end within a line.
        warn: whether a `CharlmWarning` reports unknown characters in it.
    Raises:
        ConfigError: for both a text and files, and for neither.
        TextError: for a text without a character that the model knows, and for unknown characters.
    """
    if (text is None) == (not files):
        raise ConfigError("give either a text or files to score")
    if isinstance(text, EncodedText):
        return text
    checkpoint = model.checkpoint
    policy = unknown or checkpoint.vocabulary.policy(checkpoint.settings.corpus.unknown)
    remedy = model.unknown_remedy
    if text is None:
        read = encode_files(checkpoint, files, unknown=policy, remedy=remedy)
    else:
        corpus = checkpoint.settings.corpus
        if is_prefix:
            chunks = iter([model.cleaned(text, "the text")])
        elif model.end is None:
            chunks = clean_text(iter([text]), corpus.clean)
        else:
            chunks = ended_items(iter([text]), corpus)
        ends = model.end or "\n"
        read = encode_text([Source(None, chunks)], checkpoint.vocabulary, unknown=policy, remedy=remedy, line_end=ends)
    if len(read.ids) == 0 and not (is_prefix and model.end):
        raise TextError(
            "the text has no character that the model knows: there is nothing to score"
            if len(read.marked)
            else "the text is empty: there is nothing to score"
        )
    if read.notice and warn:
        warnings.warn(read.notice, UnknownCharactersWarning, stacklevel=3)
    return read


def _lines_alone(model: Model, text: EncodedText, report: Callable[[int, int], None] | None) -> Iterator[ScoredLine]:
    ids, newline = text.ids, text.vocabulary.encode(text.line_end)
    if len(text.unknown) and text.marked[-1] != newline[0]:
        # Makes a line of a final one that holds only skipped characters; the bits of other lines do not depend on it.
        ids = np.append(ids, newline)
    lines = score_lines_alone(
        model.readable, ids, text.vocabulary, end=text.line_end, direction=model.direction, report=report
    )
    return lines_with_unknown(lines, text) if len(text.unknown) else lines
