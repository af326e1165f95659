"""Measure how much of a model's writing is copied from its training text, compared with a held-out text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from charlm.errors import ConfigError
from charlm.evaluation.novelty import Copying, Novelty, measure_copying
from charlm.generation.filters import Filters
from charlm.generation.sampling import sample_text
from charlm.library.measured_texts import choose_predictable_text, of_total, read_known_parts
from charlm.library.models import Model, opened
from charlm.runs.run import Run
from charlm.settings.corpus import UnknownPolicy
from charlm.text.reading_order import turned
from charlm.text.vocabulary import Ids

DEFAULT_NGRAMS = (4, 8, 12, 16, 20, 30, 50)
DEFAULT_LENGTH = 10_000
# The text and the facts about its n-grams are held in memory.
MAX_LENGTH = 1_000_000
PREFIX_CHARS = 100


def novelty(
    model: Model | Run | str | Path,
    *,
    split: str = "test",
    files: Sequence[str | Path] = (),
    unknown: UnknownPolicy | None = None,
    ngrams: Sequence[int] = DEFAULT_NGRAMS,
    length: int = DEFAULT_LENGTH,
    prefix: str | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> Novelty:
    """Let a model write a sample, and measure what share of its n-grams occur in the run's training split.

    Texts are compared as the model sees them: cleaned, and with one symbol for all unknown characters.

    Args:
        model: a model from `open_run`, or a run or its name, of which the best checkpoint is used. A bidirectional
            model writes with its forward half.
        split: val or test, the held-out text; not used when files are given.
        files: a held-out text to use instead of a split.
        unknown: what to do with characters in them that the model does not know; see `score`.
        ngrams: the lengths n to compare.
        length: number of characters to write, 1 to 1,000,000; the held-out text is cut to the same length.
        prefix: the text that the sample continues; None takes the first 100 characters of the held-out text, whose rest
            is then compared with the sample. A backward model writes towards the last 100 characters.
        temperature: the sampling temperature.
        seed: the random seed for sampling.
        report: called with the number of characters done and the total, first while writing and then while reading.
    Raises:
        ConfigError: for an n or a length out of range, the training split, a backward model's prefix, a model of items.
        TextError: for a prefix with characters the model has never seen, and for a corpus that is missing or has
            changed.
        RunError: for a split that the run does not have.

    Example:
        >>> found = charlm.novelty("my-run", ngrams=[2, 4], length=100)
        >>> len(found.text), found.sample.longest <= 100
        (100, True)
    """
    sizes = _checked(ngrams, length, split, files)
    model = opened(model)
    before = None if prefix is None else _given_prefix(model, prefix)
    parts = read_known_parts(model, "novelty")
    part = choose_predictable_text(model, split, files, unknown=unknown, parts=parts)
    cut = min(PREFIX_CHARS, len(part.ids) - 1) if prefix is None else 0
    before, held_out = part.ids[:cut] if before is None else before, part.ids[cut:]
    sample = _written(model, before, seed=seed, length=length, temperature=temperature, report=report)
    train, reading = parts.train.ids, of_total(report, 2 * len(parts.train.ids))
    of_sample = measure_copying(sample, train, sizes, report=reading)
    of_held_out = measure_copying(held_out[:length], train, sizes, report=lambda done: reading(len(train) + done))
    texts = (before, sample, _stretch(sample, of_sample), _stretch(held_out, of_held_out))
    decode = model.checkpoint.vocabulary.decode
    shown, text, longest, held_out_longest = (decode(turned(ids, model.direction)) for ids in texts)
    return Novelty(shown, text, of_sample, of_held_out, longest, held_out_longest, part.unknown)


def _checked(ngrams: Sequence[int], length: int, split: str, files: Sequence[str | Path]) -> list[int]:
    """Return the lengths n in ascending order without duplicates; refuse values out of range."""
    if not ngrams or min(ngrams) < 1:
        raise ConfigError("the lengths of n-grams must be at least 1, and there must be at least one of them")
    if not 1 <= length <= MAX_LENGTH:
        raise ConfigError(f"the length of the sample must be from 1 to {MAX_LENGTH:,}, got {length:,}")
    if split == "train" and not files:
        raise ConfigError(
            "the sample must be compared with a held-out text, not with the training split: choose val or test"
        )
    return sorted(set(ngrams))


def _given_prefix(model: Model, prefix: str) -> Ids:
    if model.direction == "backward":
        raise ConfigError(
            f"the model of run {model.run.name} reads backwards and cannot continue a prefix: leave it out, and it "
            "writes towards the end of the held-out text"
        )
    return model.encode(prefix, "prefix")[1]


def _written(
    model: Model,
    prefix: Ids,
    *,
    seed: int,
    length: int,
    temperature: float,
    report: Callable[[int, int], None] | None,
) -> Ids:
    """Return a sample's ids, without the prefix."""
    predictor, vocabulary = model.networks.main, model.checkpoint.vocabulary
    filters, told = Filters(temperature=temperature), of_total(report, length)
    characters: list[str] = []
    for character in sample_text(predictor, vocabulary, prefix, seed=seed, length=length, filters=filters):
        characters.append(character)
        told(len(characters))
    return vocabulary.encode("".join(characters))


def _stretch(ids: Ids, copying: Copying) -> Ids:
    return ids[copying.position : copying.position + copying.longest]
