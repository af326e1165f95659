"""Measure how well a model predicts a text, compared with baselines, and how well it fills gaps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from charlm.errors import CharlmError, CharlmWarning
from charlm.evaluation.adaptive import measure_adaptive
from charlm.evaluation.assessment import Assessment, assess_text
from charlm.evaluation.baselines import Baselines, fit_baselines
from charlm.evaluation.figure import Figures
from charlm.evaluation.gaps import DEFAULT_PASSES, GapScore, measure_gaps
from charlm.evaluation.items import measure_part
from charlm.library.measured_texts import choose_predictable_text, choose_text, of_total, read_parts
from charlm.library.models import Model, opened
from charlm.runs.run import Run
from charlm.settings.corpus import UnknownPolicy
from charlm.text.splits import Split
from charlm.text.vocabulary import Vocabulary


def score_gaps(
    model: Model | Run | str | Path,
    *,
    gap: int = 5,
    every: int = 25,
    split: str = "test",
    files: Sequence[str | Path] = (),
    unknown: UnknownPolicy | None = None,
    passes: int = DEFAULT_PASSES,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> GapScore:
    """Score how well a bidirectional model fills gaps, from the left side alone and from both; see `evaluation.gaps`.

    Args:
        model: a model from `open_run`, or a run or its name, of which the best checkpoint is used.
        gap: number of characters in a gap.
        every: number of characters from the start of one gap to the start of the next.
        split: train, val or test; not used when files are given.
        files: texts to read one after another.
        unknown: what to do with characters in them that the model does not know; see `score`.
        passes: number of Gibbs sampling passes to average.
        seed: the random seed for sampling.
        report: called with the number of gaps done and the total.
    Raises:
        ConfigError: for a model that reads in one direction only.
        TextError: for a text too short for a gap.

    Example:
        >>> gaps = charlm.score_gaps("both-ways", gap=3, every=10, passes=2)
        >>> gaps.gap, gaps.num_gaps > 0, gaps.both_bits < 6
        (3, True, True)
    """
    model = opened(model)
    network, text = model.gap_filler(), choose_text(model, split, files, unknown=unknown)
    score = measure_gaps(network, text.ids, gap=gap, every=every, passes=passes, seed=seed, report=report)
    return replace(score, unknown=text.unknown)


def evaluate(
    model: Model | Run | str | Path,
    *,
    split: str = "test",
    files: Sequence[str | Path] = (),
    unknown: UnknownPolicy | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Figures:
    """Measure a model on a whole split of its corpus, or on other files.

    Args:
        model: a model from `open_run`, or a run or its name, of which the best checkpoint is used.
        split: train, val or test; not used when files are given.
        files: texts to read one after another, with the run's encoding and cleaning.
        unknown: what to do with characters in them that the model does not know; see `score`.
        report: called with the number of characters done and the total.
    Raises:
        TextError: for a text shorter than two characters or with unknown characters, and for a changed corpus.
        RunError: for a split that the run does not have.

    Example:
        >>> main = charlm.evaluate("my-run", split="val").main
        >>> 1 < main.perplexity < 19, main.num_predicted
        (True, 149)
    """
    model = opened(model)
    text = choose_predictable_text(model, split, files, unknown=unknown)
    return measure_part(model.networks.measured, text, report=of_total(report, len(text.ids) - 1))


def assess(
    model: Model | Run | str | Path,
    *,
    split: str = "test",
    files: Sequence[str | Path] = (),
    unknown: UnknownPolicy | None = None,
    baselines: bool = True,
    adaptive: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> Assessment:
    """Measure a model as `evaluate` does, with an interval and with n-gram and compressor baselines for the same text.

    Args:
        model: a model from `open_run`, or a run or its name, of which the best checkpoint is used.
        split: train, val or test; not used when files are given.
        files: texts to read one after another, with the run's encoding and cleaning.
        unknown: what to do with characters in them that the model does not know; see `score`.
        baselines: whether to fit baselines on the run's training split. The training split itself has none, because
            they would know all of its characters. Where files are given and the training split is not available, a
            `CharlmWarning` says why there are no baselines.
        adaptive: whether to measure, beside them, PPMd too, which learns from the text that it codes; before the test
            split it has read validation as well. It needs the package pyppmd.
        report: called with the number of characters done and the total.
    Raises:
        TextError: for a text shorter than two characters or with unknown characters, and for a changed corpus.
        RunError: for a split that the run does not have.
        ConfigError: if `adaptive` is asked for and its package is not installed.

    Example:
        >>> found = charlm.assess("my-run")
        >>> list(found.baselines), found.figures.main.bits_per_char < 5
        (['uniform', 'unigram', 'bigram', '5-gram', '3-gram', 'bzip2', 'xz'], True)
    """
    model = opened(model)
    vocabulary, encoding = model.checkpoint.vocabulary, model.checkpoint.settings.corpus.encoding
    parts = None if files else read_parts(model)
    text = choose_predictable_text(model, split, files, unknown=unknown, parts=parts)
    known = None
    if baselines and (files or split != "train"):
        known = parts or _known_parts(model)
    measured = assess_text(
        model.networks.measured,
        text,
        vocabulary,
        encoding=encoding,
        baselines=known and _fitted(known, vocabulary, encoding),
        report=of_total(report, len(text.ids) - 1),
    )
    if not adaptive or known is None:
        return measured
    names = ("train", "val") if split == "test" and known.val and not files else ("train",)
    before = np.concatenate([part.ids for name in names if (part := known.part(name))])
    return replace(measured, adaptive=measure_adaptive(before, text.ids, vocabulary, encoding, names=names))


def _fitted(known: Split, vocabulary: Vocabulary, encoding: str) -> Baselines:
    val, boundary = known.val and known.val.ids, known.train.boundary
    return fit_baselines(known.train.ids, vocabulary, encoding, val=val, boundary=boundary)


def _known_parts(model: Model) -> Split | None:
    """Return the splits of a run's corpus; None, with a warning, where it is not available."""
    try:
        return read_parts(model)
    except CharlmError as error:
        warnings.warn(f"the result has no baselines: {error}", CharlmWarning, stacklevel=3)
        return None
