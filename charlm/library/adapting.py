"""Measure a model while it keeps learning from the text it has read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from torch import Tensor

from charlm.errors import ConfigError, RunError
from charlm.evaluation import dynamic
from charlm.evaluation.dynamic import Adaptation, DynamicFigure
from charlm.evaluation.intervals import BlockSums
from charlm.library.measured_texts import choose_predictable_text, read_known_parts
from charlm.library.models import Model, opened
from charlm.networks.language_model import CharLM
from charlm.networks.torch_predictor import writing_half
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
    """Measure a model that learns from each segment of a text after predicting it; see `evaluation.dynamic`.

    The model itself is not changed. For a bidirectional model, its forward half is measured.

    Args:
        model: a model from `open_run`, or a run or its name, of which the best checkpoint is used.
        split: train, val or test; not used when files are given.
        files: texts to read one after another, with the run's encoding and cleaning.
        unknown: what to do with characters in them that the model does not know; see `score`.
        learning_rate: the learning rate of each segment's step; None tries a few and takes the best on the beginning of
            the validation split.
        decay: the rate of decay back towards the trained weights; None chooses it likewise.
        segment_chars: number of characters to score, and then learn from, at a time.
        report: called with the number of characters done and the total, both including the tries.
    Raises:
        ConfigError: for a rate out of range, and for a leaky model or one of items.
        TextError: for a text shorter than two characters or with unknown characters, and for a corpus that is missing
            or has changed: the mean squares of the gradients always come from the training split.
        RunError: for a split that the run does not have, and where a rate must be chosen without a validation split.
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
    rates = {"learning_rate": learning_rate, "decay": decay}
    learning = prepare_learning(
        model, network, parts, **rates, segment_chars=segment_chars, report=report, num_chars=len(ids) - 1
    )
    adaptation = learning.adaptation
    figure = dynamic.measure_dynamically(
        network, ids, learning.roots, adaptation, report=learning.phase, observe=blocks.add
    )
    is_on_itself = learning.tuned_chars > 0 and parts.val is not None and np.array_equal(ids, parts.val.ids)
    return DynamicFigure(figure, blocks.interval(), adaptation, learning.tuned_chars, is_on_itself)


@dataclass(frozen=True)
class Learning:
    """What a model needs to learn from a text.

    Args:
        roots: the gradients' root mean squares.
        adaptation: how fast it learns.
        tuned_chars: number of validation characters predicted to choose the rates; 0 if both rates were given.
        phase: what takes the number of characters done while the text itself is read.
    """

    roots: list[Tensor]
    adaptation: Adaptation
    tuned_chars: int
    phase: Callable[[int], None]


def prepare_learning(
    model: Model,
    network: CharLM,
    parts: Split,
    *,
    learning_rate: float | None,
    decay: float | None,
    segment_chars: int,
    report: Callable[[int, int], None] | None = None,
    num_chars: int = 0,
) -> Learning:
    """Measure the gradients on the training split, and choose the rates that are not given.

    Args:
        model: the model of the run.
        network: its causal network.
        parts: the splits of its corpus.
        learning_rate: see `evaluate_dynamically`.
        decay: see there.
        segment_chars: see there.
        report: called with the number of characters done and the total.
        num_chars: how many characters of another text will be reported after these.
    Raises:
        RunError: where a rate must be chosen without a validation split.
        DivergedError: where the loss of every trial is no longer finite.
    """
    trials = _trial_text(model, parts) if learning_rate is None or decay is None else None
    tuned_chars = 0 if trials is None else len(trials) - 1
    train = parts.train.ids[: dynamic.STATISTICS_CHARS]
    num_tried = dynamic.num_trials(learning_rate, decay) * tuned_chars
    phases = _phases(report, [len(train) - 1, num_tried, num_chars])
    roots = dynamic.measure_gradients(network, train, segment_chars=segment_chars, report=phases[0])
    adaptation = Adaptation(learning_rate or 0.0, decay or 0.0, segment_chars)
    if trials is not None:
        rates = {"learning_rate": learning_rate, "decay": decay}
        adaptation = dynamic.tune_adaptation(
            network, trials, roots, **rates, segment_chars=segment_chars, report=phases[1]
        )
    return Learning(roots, adaptation, tuned_chars, phases[2])


def _causal_half(model: Model) -> CharLM:
    network = writing_half(model.network)
    if not isinstance(network, CharLM):
        raise ConfigError(
            f"the model of run {model.run.name} is leaky: it reads its own target, so dynamic evaluation would "
            "measure nothing"
        )
    return network


def _trial_text(model: Model, parts: Split) -> Ids:
    if parts.val is None:
        raise RunError(
            f"the run {model.run.name} has no validation split to choose the rates on: give --learning-rate and --decay"
        )
    return parts.val.ids[: dynamic.TUNING_CHARS]


def _phases(report: Callable[[int, int], None] | None, sizes: Sequence[int]) -> list[Callable[[int], None]]:
    """Return one callback for each of several consecutive readings, which takes the characters done in it."""

    def phase(before: int) -> Callable[[int], None]:
        return lambda done: report(before + done, sum(sizes)) if report else None

    return [phase(before) for before in accumulate([0, *sizes[:-1]])]
