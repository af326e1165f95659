"""What a model makes of a text: its figures, those of simpler models beside them, and how it fills gaps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from charlm.errors import CharlmError, CharlmWarning
from charlm.evaluation import gaps
from charlm.evaluation.assessment import Assessment
from charlm.evaluation.assessment import assess as assess_ids
from charlm.evaluation.baselines import fit_baselines
from charlm.evaluation.figure import Figures
from charlm.evaluation.gaps import GapScore
from charlm.evaluation.reading import evaluate as evaluate_ids
from charlm.library.known_parts import of_total, predictable
from charlm.library.models import Model, open_run
from charlm.runs.run import Run
from charlm.runs.texts import encode_files, read_part, read_split
from charlm.text.encoding import hash_ids
from charlm.text.splits import Part
from charlm.text.vocabulary import Ids


def score_gaps(
    model: Model | Run,
    *,
    gap: int = 5,
    every: int = 25,
    split: str = "test",
    files: Sequence[str | Path] = (),
    passes: int = gaps.DEFAULT_PASSES,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> GapScore:
    """Score how well a bidirectional model fills gaps, from the left side alone and from both; see `evaluation.gaps`.

    Args:
        model: from `open_run`, or a run, whose best checkpoint is taken.
        gap: characters in a gap.
        every: characters from the start of one gap to the next.
        split: train, val or test; not used when files are given.
        files: texts read one after the other.
        passes: Gibbs passes that are averaged.
        seed: of the draws.
        report: called with the gaps done and their number.
    Raises:
        ConfigError: for a model that reads one way only.
        TextError: for a text too short for a gap.
    """
    model = model if isinstance(model, Model) else open_run(model)
    filler = model.gap_filler()
    ids = encode_files(model.checkpoint, files) if files else read_part(model.run, model.checkpoint, split)
    return gaps.score_gaps(filler, ids, gap=gap, every=every, passes=passes, seed=seed, report=report)


def evaluate(
    model: Model | Run,
    *,
    split: str = "test",
    files: Sequence[str | Path] = (),
    report: Callable[[int, int], None] | None = None,
) -> Figures:
    """Measure a model over a whole part of its corpus, or over other files.

    Args:
        model: from `open_run`, or a run, whose best checkpoint is taken.
        split: train, val or test; not used when files are given.
        files: texts read one after the other, with the run's encoding, cleaning and unknown policy.
        report: called with the characters done and their total.
    Raises:
        TextError: for a text shorter than two characters or with unknown characters, or a changed corpus.
        RunError: for a part that the run does not have.
    """
    model = model if isinstance(model, Model) else open_run(model)
    ids = _read_text(model, split, files)
    reading = ids[::-1] if model.direction == "backward" else ids
    return evaluate_ids(model.network, reading, report=of_total(report, len(ids) - 1))


def assess(
    model: Model | Run,
    *,
    split: str = "test",
    files: Sequence[str | Path] = (),
    baselines: bool = True,
    report: Callable[[int, int], None] | None = None,
) -> Assessment:
    """Measure a model as `evaluate` does, with an interval and what n-grams and compressors make of the same text.

    Args:
        model: from `open_run`, or a run, whose best checkpoint is taken.
        split: train, val or test; not used when files are given.
        files: texts read one after the other, with the run's encoding, cleaning and unknown policy.
        baselines: whether to fit them on the run's training part, which has none itself: they would know each of its
            characters. Where files are given and that part cannot be had, a `CharlmWarning` says why there are none.
        report: called with the characters done and their total.
    Raises:
        TextError: for a text shorter than two characters or with unknown characters, or a changed corpus.
        RunError: for a part that the run does not have.
    """
    model = model if isinstance(model, Model) else open_run(model)
    ids, vocabulary = _read_text(model, split, files), model.checkpoint.vocabulary
    encoding = model.checkpoint.settings.corpus.encoding
    has_baselines = baselines and (bool(files) or split != "train")
    part, known = Part(ids, hash_ids(ids, vocabulary)), _known_text(model) if has_baselines else None
    if model.direction == "backward":
        part, known = replace(part, ids=ids[::-1]), known if known is None else known[::-1]
    return assess_ids(
        model.network,
        part,
        vocabulary,
        encoding=encoding,
        baselines=None if known is None else fit_baselines(known, vocabulary, encoding),
        report=of_total(report, len(ids) - 1),
    )


def _known_text(model: Model) -> Ids | None:
    """Return the training part; None, with a warning, where it is not at hand, as it is for a part of its corpus."""
    try:
        return read_split(model.run, model.checkpoint).train.ids
    except CharlmError as error:
        warnings.warn(f"the figure has no baselines beside it: {error}", CharlmWarning, stacklevel=3)
        return None


def _read_text(model: Model, split: str, files: Sequence[str | Path]) -> Ids:
    return predictable(
        encode_files(model.checkpoint, files) if files else read_part(model.run, model.checkpoint, split)
    )
