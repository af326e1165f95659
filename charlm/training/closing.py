"""The end of a run: the best checkpoint is measured on all of validation and test, and the run is summarised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from charlm.evaluation.assessment import assess_text
from charlm.evaluation.baselines import fit_baselines
from charlm.runs.checkpoints import Checkpoint
from charlm.runs.rates import Rates
from charlm.runs.records import Summary
from charlm.runs.restoring import to_tensors
from charlm.runs.run import Run
from charlm.settings.model import LEAKY_WARNING
from charlm.text.splits import Part
from charlm.training.experiment import Experiment
from charlm.training.forgetting import measure_forgetting
from charlm.training.progress import Progress
from charlm.training.rates import rates_of, rates_of_whole
from charlm.training.recording import leave_if


def close_run(
    experiment: Experiment,
    run: Run,
    best: Checkpoint,
    progress: Progress,
    stopped_by: str,
    *,
    is_chosen: bool,
    seconds: Callable[[], float],
    should_stop: Callable[[], str | None],
) -> Summary:
    """Measure the best checkpoint and return the closing summary; afterwards the network has that checkpoint's weights.

    Args:
        best: the run's best checkpoint.
        stopped_by: what ended the run.
        is_chosen: whether validation has chosen the best checkpoint; otherwise `best` is the last one.
        seconds: called at the end; returns how long the run has taken.
        should_stop: called between chunks of the texts.
    Raises:
        StopRequestedError: if `should_stop` returns a word.
    """
    experiment.network.load_state_dict(to_tensors(best.model))
    measured = _measure_parts(experiment, leave_if(should_stop))
    facts, whole = experiment.facts, progress.whole
    train = (progress.last_epoch or whole).figures
    return Summary(
        kind="end",
        run=run.name,
        stopped_by=stopped_by,
        steps=progress.step,
        epochs=progress.epoch,
        best_step=best.step,
        is_chosen=is_chosen,
        seconds=round(seconds(), 3),
        chars_seen=whole.chars,
        chars_per_second=round(whole.chars / whole.seconds, 1) if whole.seconds > 0 else 0.0,
        num_skipped_steps=progress.num_skipped,
        num_rollbacks=progress.num_rollbacks,
        num_parameters=facts.num_parameters,
        direction=experiment.settings.model.direction,
        implementation=facts.implementation,
        device=facts.device,
        corpus_sha256=facts.corpus_sha256,
        split=facts.split,
        train=train and rates_of(train),
        **measured,
        warning=LEAKY_WARNING if experiment.settings.model.direction == "leaky" else None,
    )


def _measure_parts(experiment: Experiment, report: Callable[[int], None]) -> dict[str, Any]:
    """Measure all of the validation and test splits, and what was forgotten; return these fields of the summary."""
    vocabulary, encoding, split = experiment.vocabulary, experiment.settings.corpus.encoding, experiment.split
    baselines = None
    if experiment.settings.eval.baselines and (split.val or split.test):
        val, boundary = split.val and split.val.ids, split.train.boundary
        baselines = fit_baselines(split.train.ids, vocabulary, encoding, val=val, boundary=boundary)

    def measure(part: Part) -> Rates:
        network = experiment.network
        return rates_of_whole(
            assess_text(network, part, vocabulary, encoding=encoding, baselines=baselines, report=report)
        )

    splits = {"val": split.val and measure(split.val), "test": split.test and measure(split.test)}
    parent = experiment.facts.parent
    if parent is None:
        return splits
    old = measure_forgetting(experiment, parent, report)
    return splits | {
        "parent_val": parent.val,
        "parent_old_val": parent.old_val,
        "old_val": old.rates,
        "old_text": old.problem,
    }
