"""Starting and resuming a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from charlm.errors import RunError, StoppedError, printable
from charlm.runs.checkpoints import Checkpoint, load_checkpoint
from charlm.runs.creation import check_new_name, check_run_name, create_run
from charlm.runs.ensembles import refuse_ensemble
from charlm.runs.model_file import is_model_file
from charlm.runs.ownership import Ownership, take_ownership
from charlm.runs.records import Resume, Summary
from charlm.runs.run import CONFIG, Run, find_unfinished, runs_folder
from charlm.runs.writer import RunWriter
from charlm.settings.layers import SettingsLayer
from charlm.settings.loading import load_settings
from charlm.settings.schema import Settings
from charlm.training.budget import ended_by
from charlm.training.events import End, TrainingEvent
from charlm.training.experiment import prepare
from charlm.training.forgetting import measure_parent
from charlm.training.loop import run_training
from charlm.training.position import first_position, read_position, restore_position
from charlm.training.resume import (
    available_here,
    check_minutes,
    check_same_text,
    check_text_of_finished,
    combine_settings,
    describe_change,
    is_corpus_written,
)


def train_reports(
    settings: Settings | None = None,
    *,
    name: str | None = None,
    runs_dir: str | Path | None = None,
    resume: bool = False,
    overrides: Sequence[str | SettingsLayer] = (),
    should_stop: Callable[[], str | None] = lambda: None,
) -> Iterator[TrainingEvent]:
    """Train a run and yield its reports; the first holds the run's folder, the last its closing results.

    Args:
        settings: from `load_settings`; None means the quick start's, or those of the run that is resumed.
        name: the run's name; None makes one from the time and the model, or resumes the newest unfinished run.
        runs_dir: the folder of runs; None means CHARLM_RUNS_DIR or ./runs.
        resume: start the run if it does not exist, and resume it if it is unfinished or its budget has grown; a
            finished run only yields its closing results.
        overrides: texts `section.key=value`, or layers, that change the settings used where `settings` is None.
        should_stop: called before the run is created, after each step and during long evaluations; if it returns a
            word (interrupt, terminate or hangup), a checkpoint is saved and the run ends.
    Raises:
        CharlmError: each kind has its own sentence and exit code.

    Example:
        >>> settings = charlm.load_settings(overrides=["train.max_steps=2", "train.eval_every=1"])
        >>> for report in charlm.train_reports(settings, name="watched"):
        ...     print(type(report).__name__, end=" ")
        Start Step Evaluation Step Evaluation Samples End
    """
    folder = runs_folder(runs_dir)
    if resume:
        run = find_unfinished(folder) if name is None else _named(name, folder)
        if run.exists:
            yield from _go_on(run, settings, overrides, should_stop)
            return
    elif name is not None:
        check_new_name(name, folder)
    experiment = prepare(settings or load_settings(overrides=overrides), runs_dir=folder)
    experiment = measure_parent(experiment, should_stop)
    _leave_before_writing(should_stop)
    if resume and name is not None and (begun := Run(folder / name)).exists:
        # Another process has started it in the meantime.
        yield from _go_on(begun, settings, overrides, should_stop)
        return
    run, ownership = create_run(experiment.settings, experiment.facts, folder=folder, name=name, goes_on=resume)
    try:
        writer = RunWriter(run, ownership)
        yield from run_training(experiment, writer, first_position(experiment), should_stop=should_stop)
    finally:
        ownership.release()


def _named(name: str, folder: Path) -> Run:
    check_run_name(name)
    if is_model_file(name, folder=folder):
        raise RunError(
            f"{printable(name)} is a model in one file, without what training resumes from: --from trains on from it"
        )
    return Run(folder / name)


def _go_on(
    run: Run, asked: Settings | None, overrides: Sequence[str | SettingsLayer], should_stop: Callable[[], str | None]
) -> Iterator[TrainingEvent]:
    refuse_ensemble(run, "resuming")
    ownership = take_ownership(run.path)
    try:
        stored = run.settings()
        settings = combine_settings(stored, asked or load_settings(run.path / CONFIG, overrides=overrides))
        checkpoint = load_checkpoint(run, "last") if run.checkpoint_paths() else None
        if checkpoint is not None:
            check_minutes(run.name, stored, settings, read_position(checkpoint).progress.step)
        if checkpoint is not None and (summary := _closing_summary(run, settings, checkpoint)):
            check_text_of_finished(run, settings, is_written=is_corpus_written(asked, overrides))
            yield End(run.path, summary.stopped_by, summary, _written_prefix(run))
            return
        yield from _train_on(run, ownership, stored, settings, checkpoint, should_stop)
    finally:
        ownership.release()


def _train_on(
    run: Run,
    ownership: Ownership,
    stored: Settings,
    settings: Settings,
    checkpoint: Checkpoint | None,
    should_stop: Callable[[], str | None],
) -> Iterator[TrainingEvent]:
    """Restore everything from the checkpoint and continue training."""
    is_child = settings.start.run is not None
    begun = checkpoint.vocabulary if checkpoint and is_child else None
    experiment = prepare(available_here(settings), resumed=True, begun=begun)
    if is_child:
        # Its parent was measured when the run began, and need not exist any more.
        facts = replace(experiment.facts, parent=run.environment().parent)
        experiment = replace(experiment, facts=facts, parent=None)
    check_same_text(run, checkpoint, experiment)
    _leave_before_writing(should_stop)
    writer = RunWriter(run, ownership)
    note = None
    position = first_position(experiment)
    if checkpoint is not None:
        position = restore_position(experiment, checkpoint)
        note = describe_change(checkpoint.state.fingerprint, experiment.fingerprint)
    writer.cut_records(position.recorded_until)
    if settings.train.fit_minutes != stored.train.fit_minutes:
        experiment.timetable.fit_anew(position.progress, position.seconds)
    if experiment.timetable.recorded != stored:
        writer.change_settings(experiment.timetable.recorded)
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    step = position.progress.step
    writer.record_resume(Resume(step=step, time=now, fingerprint=experiment.fingerprint, note=note))
    yield from run_training(experiment, writer, position, should_stop=should_stop, note=note)


def _closing_summary(run: Run, settings: Settings, checkpoint: Checkpoint) -> Summary | None:
    """Return the closing summary of a run that has nothing left to do under these settings, otherwise None."""
    summary, position = run.summary(), read_position(checkpoint)
    if summary is None or summary.steps != position.progress.step:
        return None
    return summary if ended_by(settings.train, position.progress, position.seconds) else None


def _written_prefix(run: Run) -> str | None:
    """Return the first prefix of the run's last sample table."""
    samples = [sample for table in run.samples() for sample in table.samples[:1]]
    return (samples[-1].prefix or samples[-1].suffix) if samples else None


def _leave_before_writing(should_stop: Callable[[], str | None]) -> None:
    if word := should_stop():
        raise StoppedError("stopped before anything was written", word)
