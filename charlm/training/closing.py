"""The end of a run: the best checkpoint read whole over validation and test, and the closing record."""

from __future__ import annotations

from typing import Any

from charlm.evaluation.figure import Figures, figures_record
from charlm.evaluation.reading import evaluate
from charlm.networks.leaky import WARNING
from charlm.runs.checkpoints import load_checkpoint
from charlm.runs.folder import Run
from charlm.training.experiment import Experiment
from charlm.training.progress import Progress
from charlm.training.reports import End, Samples


def close_run(
    experiment: Experiment,
    run: Run,
    progress: Progress,
    stopped_by: str,
    samples: Samples | None,
    seconds: float,
) -> End:
    """Measure the best checkpoint and record the closing figures.

    A run ended by a signal is not measured: whoever ends it does not want to wait. The network has the best
    checkpoint's weights afterwards.
    """
    val: Figures | None = None
    test: Figures | None = None
    best_step: int | None = None
    if stopped_by not in ("interrupt", "terminate"):
        best = load_checkpoint(run, "best")
        best_step = best.step
        experiment.network.load_state_dict(dict(best.model))
        split = experiment.split
        val = evaluate(experiment.network, split.val.ids) if split.val else None
        test = evaluate(experiment.network, split.test.ids) if split.test else None
    train = (progress.last_epoch or progress.whole).figures
    record: dict[str, Any] = {
        "kind": "end",
        "run": run.name,
        "stopped_by": stopped_by,
        "steps": progress.step,
        "epochs": progress.epoch,
        "best_step": best_step,
        "seconds": round(seconds, 3),
        "chars_seen": progress.whole.chars,
        "chars_per_second": round(progress.whole.chars / progress.whole.seconds, 1),
        "num_parameters": experiment.facts["num_parameters"],
        "direction": experiment.facts["direction"],
        "implementation": experiment.facts["implementation"],
        "device": experiment.facts["device"],
        "corpus_sha256": experiment.facts["corpus_sha256"],
        "split": experiment.facts["split"],
        **figures_record(train, "train_"),
        **figures_record(val, "val_"),
        **figures_record(test, "test_"),
    }
    if experiment.settings.model.direction == "leaky":
        record["warning"] = WARNING
    run.record_metrics(record)
    return End(run.path, stopped_by, record, samples)
