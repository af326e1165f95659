"""The end of a run: the best checkpoint read whole over validation and test, and the closing record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from charlm.evaluation.assessment import Assessment, assess_text
from charlm.evaluation.baselines import fit_baselines
from charlm.evaluation.figure import figures_record
from charlm.networks.leaky import WARNING
from charlm.runs.checkpoints import load_checkpoint
from charlm.runs.run import Run
from charlm.text.splits import Part
from charlm.training.experiment import Experiment
from charlm.training.progress import Progress
from charlm.training.recording import leave_if


def close_run(
    experiment: Experiment,
    run: Run,
    progress: Progress,
    stopped_by: str,
    *,
    seconds: Callable[[], float],
    should_stop: Callable[[], str | None],
) -> dict[str, Any]:
    """Measure the best checkpoint and return the closing record; the network has that checkpoint's weights afterwards.

    Args:
        stopped_by: what ended the run.
        seconds: asked at the end: how long the run has taken.
        should_stop: asked between chunks of the texts.
    Raises:
        StopRequestedError: where it answers.
    """
    best = load_checkpoint(run, "best")
    experiment.network.load_state_dict(dict(best.model))
    leave = leave_if(should_stop)
    vocabulary, encoding = experiment.vocabulary, experiment.settings.corpus.encoding
    parts, baselines = (experiment.split.val, experiment.split.test), None
    if experiment.settings.eval.baselines and any(parts):
        baselines = fit_baselines(experiment.split.train.ids, vocabulary, encoding)

    def measure(part: Part) -> Assessment:
        return assess_text(experiment.network, part, vocabulary, encoding=encoding, baselines=baselines, report=leave)

    val, test = (part and measure(part) for part in parts)
    facts, whole = experiment.facts, progress.whole
    record: dict[str, Any] = {
        "kind": "end",
        "run": run.name,
        "stopped_by": stopped_by,
        "steps": progress.step,
        "epochs": progress.epoch,
        "best_step": best.step,
        "seconds": round(seconds(), 3),
        "chars_seen": whole.chars,
        "chars_per_second": round(whole.chars / whole.seconds, 1) if whole.seconds > 0 else 0.0,
        "num_skipped_steps": progress.num_skipped,
        "num_rollbacks": progress.num_rollbacks,
        "num_parameters": facts["num_parameters"],
        "direction": facts["direction"],
        "implementation": facts["implementation"],
        "device": facts["device"],
        "corpus_sha256": facts["corpus_sha256"],
        "split": facts["split"],
        **figures_record((progress.last_epoch or whole).figures, "train_"),
        **(val.as_record("val_") if val else figures_record(None, "val_")),
        **(test.as_record("test_") if test else figures_record(None, "test_")),
    }
    if experiment.settings.model.direction == "leaky":
        record["warning"] = WARNING
    return record
