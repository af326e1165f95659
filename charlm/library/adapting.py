"""A model measured while it goes on learning from what it has read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from charlm.errors import ConfigError, RunError
from charlm.evaluation import dynamic
from charlm.evaluation.dynamic import Adaptation, DynamicFigure
from charlm.evaluation.intervals import BlockSums
from charlm.generation.sampling import writing_half
from charlm.library.measured_texts import choose_predictable_text, read_known_parts
from charlm.library.models import Model, opened
from charlm.networks.language_model import CharLM
from charlm.runs.run import Run
from charlm.settings.corpus import UnknownPolicy
from charlm.text.splits import Split
from charlm.text.vocabulary import Ids


def evaluate_dynamically(
    model: Model | Run | str | Path,
    *,
    split: str = "test",
    files: Sequence[str | Path] = (),
    unknown: UnknownPolicy | None = None,
    learning_rate: float | None = None,
    decay: float | None = None,
    segment_chars: int = dynamic.DEFAULT_SEGMENT_CHARS,
    report: Callable[[int, int], None] | None = None,
) -> DynamicFigure:
    """Measure a model that learns from each segment of a text once it has predicted it; see `evaluation.dynamic`.

    The model itself is left as it is. Of a bidirectional model, this is its forward half.

    Args:
        model: from `open_run`, or a run or its name, whose best checkpoint is taken.
        split: train, val or test; not used when files are given.
        files: texts read one after the other, with the run's encoding and cleaning.
        unknown: what becomes of their characters that the model does not know; see `score`.
        learning_rate: of each segment's step; None takes the best of a few on the beginning of the validation part.
        decay: back towards the trained weights; None likewise.
        segment_chars: characters scored, and then learned from, at once.
        report: called with the characters done and their total, those of the trials included.
    Raises:
        ConfigError: for a rate out of range, and for a leaky model.
        TextError: for a text shorter than two characters or with unknown characters, or a corpus that is gone or has
            changed: the gradients' mean squares are those of the training part, whatever text is measured.
        RunError: for a part that the run does not have; for no validation part where a rate is to be chosen.
        DivergedError: where the loss is no longer finite.

    Example:
        >>> adapted = charlm.evaluate_dynamically("my-run", learning_rate=0.01, decay=0.0)
        >>> adapted.figure.bits_per_char < 5, adapted.adaptation.learning_rate
        (True, 0.01)
    """
    model = opened(model)
    network, blocks = _causal_half(model), BlockSums()
    parts = read_known_parts(model, "dynamic evaluation")
    ids = choose_predictable_text(model, split, files, unknown=unknown, parts=parts).ids
    trials = _trial_text(model, parts) if learning_rate is None or decay is None else None
    tuned_chars = 0 if trials is None else len(trials) - 1
    train = parts.train.ids[: dynamic.STATISTICS_CHARS]
    num_tried = dynamic.num_trials(learning_rate, decay) * tuned_chars
    phases = _phases(report, [len(train) - 1, num_tried, len(ids) - 1])
    roots = dynamic.measure_gradients(network, train, segment_chars=segment_chars, report=phases[0])
    adaptation = Adaptation(learning_rate or 0.0, decay or 0.0, segment_chars)
    if trials is not None:
        rates = {"learning_rate": learning_rate, "decay": decay}
        adaptation = dynamic.tune_adaptation(
            network, trials, roots, **rates, segment_chars=segment_chars, report=phases[1]
        )
    figure = dynamic.measure_dynamically(network, ids, roots, adaptation, report=phases[2], observe=blocks.add)
    is_on_itself = tuned_chars > 0 and parts.val is not None and np.array_equal(ids, parts.val.ids)
    return DynamicFigure(figure, blocks.interval(), adaptation, tuned_chars, is_on_itself)


def _causal_half(model: Model) -> CharLM:
    network = writing_half(model.network)
    if not isinstance(network, CharLM):
        raise ConfigError(
            f"the model of run {model.run.name} is leaky: it reads its own target, and learning from it as well would "
            "measure nothing"
        )
    return network


def _trial_text(model: Model, parts: Split) -> Ids:
    if parts.val is None:
        raise RunError(
            f"the run {model.run.name} has no validation part to choose the rates on: give --learning-rate and --decay"
        )
    return parts.val.ids[: dynamic.TUNING_CHARS]


def _phases(report: Callable[[int, int], None] | None, sizes: Sequence[int]) -> list[Callable[[int], None]]:
    """Return what takes the characters done in each of several readings, one after the other."""

    def phase(before: int) -> Callable[[int], None]:
        return lambda done: report(before + done, sum(sizes)) if report else None

    return [phase(before) for before in accumulate([0, *sizes[:-1]])]
