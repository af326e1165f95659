"""Texts that a model writes: on from a prefix, towards a suffix, or between the two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from charlm.generation.filters import CALM, Filters
from charlm.generation.infill import fill_gap
from charlm.generation.sampling import sample_texts
from charlm.library.models import Model, open_run
from charlm.runs.run import Run


def generate(
    model: Model | Run,
    prefix: str | None = None,
    *,
    suffix: str | None = None,
    length: int = 200,
    num_samples: int = 1,
    seed: int = 0,
    filters: Filters = CALM,
    stops: Sequence[str] = (),
    passes: int = 20,
) -> Iterator[str]:
    """Yield whole texts that begin with the prefix, end with the suffix, or both.

    Args:
        model: from `open_run`, or a run, whose best checkpoint is taken.
        prefix: what the texts begin with, at least one character that the model knows.
        suffix: what they end with; with a prefix too, the gap between them is filled.
        length: characters written, at most; exactly so many in a gap.
        num_samples: how many texts.
        seed: sample k of a seed is the same however many are asked for.
        filters: temperature, top_k, top_p, min_p.
        stops: a text ends before the first of these (begins after the last, before a suffix); none for a gap.
        passes: Gibbs passes over a gap.
    Raises:
        ConfigError: for what the model cannot do.
        TextError: for characters it has never seen.
    """
    model = model if isinstance(model, Model) else open_run(model)
    options: dict[str, Any] = {"length": length, "num_samples": num_samples, "seed": seed, "filters": filters}
    if prefix is not None and suffix is not None:
        yield from _fill_between(model, prefix, suffix, passes=passes, **options)
    elif suffix is not None:
        yield from _write_towards(model, suffix, stops=[stop[::-1] for stop in stops], **options)
    else:
        network = model.writer()
        before, ids = model.encode(prefix or "", "prefix")
        texts = sample_texts(network, model.checkpoint.vocabulary, ids, stops=stops, **options)
        yield from (before + text for text in texts)


def _write_towards(model: Model, suffix: str, **options: Any) -> Iterator[str]:
    network = model.backward_writer()
    after, ids = model.encode(suffix, "suffix")
    texts = sample_texts(network, model.checkpoint.vocabulary, ids[::-1], **options)
    yield from (text[::-1] + after for text in texts)


def _fill_between(model: Model, prefix: str, suffix: str, **options: Any) -> Iterator[str]:
    network = model.gap_filler()
    before, prefix_ids = model.encode(prefix, "prefix")
    after, suffix_ids = model.encode(suffix, "suffix")
    fillings = fill_gap(network, model.checkpoint.vocabulary, prefix_ids, suffix_ids, **options)
    yield from (before + text + after for text in fillings)
