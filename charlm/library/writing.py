"""Texts that a model writes: on from a prefix, towards a suffix, or between the two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from charlm.generation.filters import CALM, Filters
from charlm.generation.infill import fill_gap
from charlm.generation.sampling import sample_texts
from charlm.library.models import Model, opened
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
    model = opened(model)
    vocabulary = model.checkpoint.vocabulary
    stops = [model.cleaned(stop, f"the stop {stop!r}") for stop in stops]
    write = partial(sample_texts, length=length, num_samples=num_samples, seed=seed, filters=filters)
    fill = partial(fill_gap, length=length, num_samples=num_samples, seed=seed, filters=filters)
    if prefix is not None and suffix is not None:
        network = model.gap_filler()
        before, prefix_ids = model.encode(prefix, "prefix")
        after, suffix_ids = model.encode(suffix, "suffix")
        texts = fill(network, vocabulary, prefix_ids, suffix_ids, passes=passes)
        yield from (before + text + after for text in texts)
    elif suffix is not None:
        network = model.backward_writer()
        after, ids = model.encode(suffix, "suffix")
        texts = write(network, vocabulary, ids[::-1], stops=[stop[::-1] for stop in stops])
        yield from (text[::-1] + after for text in texts)
    else:
        network = model.writer()
        before, ids = model.encode(prefix or "", "prefix")
        yield from (before + text for text in write(network, vocabulary, ids, stops=stops))
