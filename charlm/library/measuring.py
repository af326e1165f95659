"""What a model makes of a text: its figures, those of simpler models beside them, and how it fills gaps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from charlm.errors import CharlmError, CharlmWarning
from charlm.evaluation.assessment import Assessment, assess_text
from charlm.evaluation.baselines import fit_baselines
from charlm.evaluation.figure import Figures
from charlm.evaluation.gaps import DEFAULT_PASSES, GapScore, measure_gaps
from charlm.evaluation.reading import measure_text
from charlm.library.measured_texts import choose_predictable_text, choose_text, of_total, read_parts
from charlm.library.models import Model, opened
from charlm.runs.run import Run
from charlm.settings.corpus import UnknownPolicy
from charlm.text.splits import Part


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
        model: from `open_run`, or a run or its name, whose best checkpoint is taken.
        gap: characters in a gap.
        every: characters from the start of one gap to the next.
        split: train, val or test; not used when files are given.
        files: texts read one after the other.
        unknown: what becomes of their characters that the model does not know; see `score`.
        passes: Gibbs passes that are averaged.
        seed: of the draws.
        report: called with the gaps done and their number.
    Raises:
        ConfigError: for a model that reads one way only.
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
    """Measure a model over a whole part of its corpus, or over other files.

    Args:
        model: from `open_run`, or a run or its name, whose best checkpoint is taken.
        split: train, val or test; not used when files are given.
        files: texts read one after the other, with the run's encoding and cleaning.
        unknown: what becomes of their characters that the model does not know; see `score`.
        report: called with the characters done and their total.
    Raises:
        TextError: for a text shorter than two characters or with unknown characters, or a changed corpus.
        RunError: for a part that the run does not have.

    Example:
        >>> main = charlm.evaluate("my-run", split="val").main
        >>> 1 < main.perplexity < 19, main.num_predicted
        (True, 149)
    """
    model = opened(model)
    ids = choose_predictable_text(model, split, files, unknown=unknown).ids
    return measure_text(model.network, ids, report=of_total(report, len(ids) - 1))


def assess(
    model: Model | Run | str | Path,
    *,
    split: str = "test",
    files: Sequence[str | Path] = (),
    unknown: UnknownPolicy | None = None,
    baselines: bool = True,
    report: Callable[[int, int], None] | None = None,
) -> Assessment:
    """Measure a model as `evaluate` does, with an interval and what n-grams and compressors make of the same text.

    Args:
        model: from `open_run`, or a run or its name, whose best checkpoint is taken.
        split: train, val or test; not used when files are given.
        files: texts read one after the other, with the run's encoding and cleaning.
        unknown: what becomes of their characters that the model does not know; see `score`.
        baselines: whether to fit them on the run's training part, which has none itself: they would know each of its
            characters. Where files are given and that part cannot be had, a `CharlmWarning` says why there are none.
        report: called with the characters done and their total.
    Raises:
        TextError: for a text shorter than two characters or with unknown characters, or a changed corpus.
        RunError: for a part that the run does not have.

    Example:
        >>> found = charlm.assess("my-run")
        >>> list(found.baselines), found.figures.main.bits_per_char < 5
        (['uniform', 'unigram', 'bigram', '5-gram', 'bzip2', 'xz'], True)
    """
    model = opened(model)
    vocabulary, encoding = model.checkpoint.vocabulary, model.checkpoint.settings.corpus.encoding
    parts = None if files else read_parts(model)
    text = choose_predictable_text(model, split, files, unknown=unknown, parts=parts)
    known = None
    if baselines and (files or split != "train"):
        known = parts.train if parts else _known_part(model)
    return assess_text(
        model.network,
        text,
        vocabulary,
        encoding=encoding,
        baselines=known and fit_baselines(known.ids, vocabulary, encoding),
        report=of_total(report, len(text.ids) - 1),
    )


def _known_part(model: Model) -> Part | None:
    """Return the training part; None, with a warning, where it is not at hand."""
    try:
        return read_parts(model).train
    except CharlmError as error:
        warnings.warn(f"the figure has no baselines beside it: {error}", CharlmWarning, stacklevel=3)
        return None
