"""How much each character of a text surprises a model, and each line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from charlm.errors import ConfigError, TextError
from charlm.evaluation.characters import ScoredCharacter, score_characters
from charlm.evaluation.lines import ScoredLine, join_lines, most_surprising, score_lines_alone
from charlm.library.models import Model, opened
from charlm.runs.run import Run
from charlm.runs.texts import encode_files
from charlm.text.cleaning import clean_text
from charlm.text.encoding import encode_text
from charlm.text.vocabulary import Ids


def score(
    model: Model | Run | str | Path, text: str | None = None, *, files: Sequence[str | Path] = ()
) -> Iterator[ScoredCharacter]:
    """Return each character of a text with its probability, its surprise in bits, its rank and the likeliest instead.

    The bits add up to the figure of `evaluate`. A backward model's characters come in the order of the text too.

    Args:
        model: from `open_run`, or a run or its name, whose best checkpoint is taken. Beside a leaky model's
            figures its `warning` must stand.
        text: cleaned and encoded as files are: with the run's cleaning and unknown policy.
        files: read one after the other, instead of a text.
    Raises:
        ConfigError: for both a text and files, and for neither.
        TextError: for an empty text and for unknown characters.
        DivergedError: while reading, where a probability is no number.

    Example:
        >>> first, *others = charlm.score("my-run", "the cat")
        >>> first.character, first.bits, [each.character for each in others if each.bits > 9]
        ('t', None, [])
    """
    model = opened(model)
    ids = _encode(model, text, files)
    return score_characters(model.network, ids, model.checkpoint.vocabulary, direction=model.direction)


def score_lines(
    model: Model | Run | str | Path,
    text: str | None = None,
    *,
    files: Sequence[str | Path] = (),
    odd: int | None = None,
    alone: bool | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Iterator[ScoredLine]:
    """Return each line of a text with its bits, in order, or the odd ones out.

    A line's bits are those of its characters and of its newline. In the context of the text they are what `score` says
    of these, and the lines add up to the text. Alone, each line is read between two newlines from the initial state:
    what it says then depends neither on the other lines nor on their order.

    Args:
        model: from `open_run`, or a run or its name, whose best checkpoint is taken.
        text: cleaned and encoded as files are.
        files: read one after the other, instead of a text.
        odd: only so many lines, those of the most bits per character, most first.
        alone: whether each line is judged alone; None judges odd ones alone, and others in context.
        report: called with the lines done and their number, where they are judged alone.
    Raises:
        ConfigError: for a model without a newline, for both a text and files, and for neither.
        TextError: for an empty text and for unknown characters.
        DivergedError: while reading, where a probability is no number.

    Example:
        >>> lines = charlm.score_lines("my-run", files=["mine.txt"], odd=2)
        >>> [line.bits_per_char > 0 for line in lines]
        [True, True]
    """
    model = opened(model)
    network, vocabulary, direction = model.network, model.checkpoint.vocabulary, model.direction
    if "\n" not in vocabulary.characters:
        raise ConfigError(f"the model of run {model.run.name} knows no newline: it cannot tell lines apart")
    ids = _encode(model, text, files)
    if alone or (alone is None and odd is not None):
        lines = score_lines_alone(network, ids, vocabulary, direction=direction, report=report)
    else:
        lines = join_lines(score_characters(network, ids, vocabulary, direction=direction))
    return lines if odd is None else iter(most_surprising(lines, odd))


def _encode(model: Model, text: str | None, files: Sequence[str | Path]) -> Ids:
    """Return the ids of a text, or of files."""
    if (text is None) == (not files):
        raise ConfigError("give either a text or files to score")
    corpus = model.checkpoint.settings.corpus
    if text is None:
        ids = encode_files(model.checkpoint, files)
    else:
        cleaned = clean_text(iter([text]), corpus.clean)
        ids = encode_text(cleaned, model.checkpoint.vocabulary, unknown=corpus.unknown)
    if len(ids) == 0:
        raise TextError("the text is empty: there is nothing to score")
    return ids
