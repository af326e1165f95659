"""Generate texts: continue a prefix, write towards a suffix, or fill the gap between the two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from charlm.errors import ConfigError
from charlm.generation.filters import CALM, Filters
from charlm.generation.sampling import sample_text, sample_texts
from charlm.library.models import Model, opened
from charlm.library.openings import opening
from charlm.library.stops import possible_stops
from charlm.runs.run import Run

DEFAULT_CHARS, DEFAULT_ITEM_CHARS = 200, 10_000


def generate(
    model: Model | Run | str | Path,
    prefix: str | None = None,
    *,
    suffix: str | None = None,
    length: int | None = None,
    num_samples: int = 1,
    seed: int = 0,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    filters: Filters | None = None,
    stops: Sequence[str] = (),
    passes: int = 20,
) -> list[str]:
    """Generate texts that begin with the prefix, end with the suffix, or both.

    Args:
        model: a model from `open_run`, or a run or its name, of which the best checkpoint is used.
        prefix: the beginning of the texts; without a prefix and a suffix, they begin as the lines of the corpus do.
        suffix: the end of the texts; together with a prefix, the gap between them is filled.
        length: the most characters to write; in a gap, the exact number. None means 200, or 10,000 for a model of
            items, which end by themselves.
        num_samples: number of texts.
        seed: the random seed; sample k of a seed is the same however many samples are requested.
        temperature: divides the logits, at least 0; 0 always takes the likeliest character; None means 0.8.
        top_k: sample from the k likeliest characters only.
        top_p: sample from the likeliest characters that together reach this probability, in (0, 1].
        min_p: sample from characters at least this fraction as likely as the likeliest one, in [0, 1].
        filters: the four values above in one object, instead of separately.
        stops: a text ends before the first of these (before a suffix, it begins after the last); not for a gap.
        passes: number of Gibbs sampling passes over a gap.
    Returns:
        The texts, including prefix and suffix.
    Raises:
        ConfigError: for anything the model cannot do, and for a value out of range.
        TextError: for characters the model does not know, and where none of the stops can occur.
        RunError: for a run or checkpoint that is missing or damaged.

    Example:
        >>> texts = charlm.generate("my-run", "the ", length=20, num_samples=3, temperature=0.6)
        >>> [(text[:4], len(text)) for text in texts]
        [('the ', 24), ('the ', 24), ('the ', 24)]
    """
    model, chosen = opened(model), _filters(filters, temperature, top_k, top_p, min_p)
    settings = {
        "length": most_characters(model, length),
        "num_samples": num_samples,
        "seed": seed,
        "passes": passes,
    }
    return list(write_texts(model, prefix, suffix=suffix, filters=chosen, stops=stops, **settings))


def stream(
    model: Model | Run | str | Path,
    prefix: str | None = None,
    *,
    length: int | None = None,
    seed: int = 0,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    filters: Filters | None = None,
    stops: Sequence[str] = (),
) -> Iterator[str]:
    """Yield one text as it is written, in constant memory: first the prefix, then each character.

    The pieces join to the text that `generate` returns.

    Args:
        model: a model from `open_run`, or a run or its name, of which the best checkpoint is used; backward
            models cannot stream.
        prefix: the beginning of the text; without one, it begins as the lines of the corpus do.
        length: the most characters to write after the prefix; None as for `generate`.
        seed: the random seed for sampling.
        temperature: as for `generate`, as are top_k, top_p, min_p and filters.
        top_k: sample from the k likeliest characters only.
        top_p: sample from the likeliest characters that together reach this probability, in (0, 1].
        min_p: sample from characters at least this fraction as likely as the likeliest one, in [0, 1].
        filters: the four values above in one object, instead of separately.
        stops: the text ends before the first of these.
    Raises:
        ConfigError: for a model that reads backwards, and for a value out of range.
        TextError: for characters the model does not know.
        RunError: for a run or checkpoint that is missing or damaged.

    Example:
        >>> for piece in charlm.stream("my-run", "the ", length=5, temperature=0):
        ...     print(len(piece), end=" ")
        4 1 1 1 1 1
    """
    model, chosen = opened(model), _filters(filters, temperature, top_k, top_p, min_p)
    start = opening(model) if prefix is None else None
    predictor = model.writer()
    cleaned, ids = model.encode(start.text if start else prefix or "", "prefix")
    most = most_characters(model, length)
    write = partial(sample_text, predictor, model.checkpoint.vocabulary, ids, seed=seed, length=most, filters=chosen)
    return chain([start.shown if start else cleaned], write(stops=possible_stops(model, stops)))


def most_characters(model: Model, length: int | None) -> int:
    """Return how many characters a model writes at most: those asked for, or else 200, or enough for any item."""
    if length is not None:
        return length
    return DEFAULT_CHARS if model.end is None else DEFAULT_ITEM_CHARS


def write_texts(
    model: Model,
    prefix: str | None = None,
    *,
    suffix: str | None = None,
    length: int,
    num_samples: int,
    seed: int,
    filters: Filters,
    stops: Sequence[str],
    passes: int,
) -> Iterator[str]:
    """Yield the texts of `generate` one after another."""
    vocabulary = model.checkpoint.vocabulary
    write = partial(sample_texts, length=length, num_samples=num_samples, seed=seed, filters=filters, end=model.end)
    if start := opening(model) if prefix is None and suffix is None else None:
        prefix, suffix = start.prefix, start.suffix
    if prefix is not None and suffix is not None:
        from charlm.generation.infill import fill_gap

        network = model.gap_filler()
        before, prefix_ids = model.encode(prefix, "prefix")
        after, suffix_ids = model.encode(suffix, "suffix")
        fill = partial(fill_gap, length=length, num_samples=num_samples, seed=seed, filters=filters, passes=passes)
        texts = fill(network, vocabulary, prefix_ids, suffix_ids)
        yield from (before + text + after for text in texts)
    elif suffix is not None:
        predictor = model.backward_writer()
        after, ids = model.encode(suffix, "suffix")
        texts = write(predictor, vocabulary, ids[::-1], stops=[stop[::-1] for stop in possible_stops(model, stops)])
        yield from (text[::-1] + (start.shown if start else after) for text in texts)
    else:
        predictor = model.writer()
        before, ids = model.encode(prefix or "", "prefix")
        texts = write(predictor, vocabulary, ids, stops=possible_stops(model, stops))
        yield from ((start.shown if start else before) + text for text in texts)


def _filters(
    filters: Filters | None,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
) -> Filters:
    """Return the sampling filters.

    Raises:
        ConfigError: where they are given both in one object and separately.
    """
    singly = (temperature, top_k, top_p, min_p)
    if filters is None:
        return Filters(CALM.temperature if temperature is None else temperature, top_k, top_p, min_p)
    if singly != (None, None, None, None):
        raise ConfigError("give either filters, or temperature, top_k, top_p and min_p")
    return filters
