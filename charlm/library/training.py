"""Train one run or many from Python, as the command line does, with its display where a person is watching."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from charlm.console.sweeps import SweepView
from charlm.console.terminal import is_watched
from charlm.console.training import TrainingView
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.sweeps.events import SweepEnd, SweepEvent
from charlm.sweeps.plan import Plan
from charlm.sweeps.results import Results
from charlm.sweeps.sweeping import sweep_reports
from charlm.training.events import TrainingEvent
from charlm.training.launch import train_reports


def train(
    settings: Settings | None = None,
    *,
    name: str | None = None,
    runs_dir: str | Path | None = None,
    resume: bool = False,
    overrides: Sequence[str] = (),
    progress: bool | None = None,
    observe: Callable[[TrainingEvent], None] | None = None,
) -> Run:
    """Train a run to its end and return it.

    Progress goes to standard error: a live display on a terminal, one line for each evaluation elsewhere.

    Args:
        settings: from `load_settings`; None takes the quick start's, or those of the run that is resumed.
        name: the name of the run; None takes the time and the model, or the newest unfinished run to resume.
        runs_dir: the folder of runs; None takes CHARLM_RUNS_DIR or ./runs.
        resume: start the run if it does not exist, and resume it if it is unfinished or its budget has grown. Only
            settings that were written are compared with those of the run, not those left to their defaults.
        overrides: texts `section.key=value` that override the settings chosen by None.
        progress: whether to show progress; None shows it in a terminal and in a notebook.
        observe: called with each report of `train_reports`.
    Returns:
        The finished run. Its `summary()` has the results, including `val_bpc` in bits per character; `generate`,
        `evaluate` and the other functions use its best checkpoint.
    Raises:
        ConfigError: for settings that cannot be combined, and for a name that is taken.
        TextError: for a corpus that cannot be used.
        RunError: for a setting or a corpus that differs from those of a resumed run.
        DivergedError: where the loss is no longer finite.
        StorageError: where the run cannot be written.

    Example:
        >>> settings = charlm.load_settings(overrides=["model.hidden_size=16", "train.max_steps=20"])
        >>> run = charlm.train(settings, name="small")
        >>> summary = run.summary()
        >>> summary["steps"], summary["val_bpc"] < 8
        (20, True)
    """
    path = Path()
    view = TrainingView(quiet=not (is_watched() if progress is None else progress))
    with view.showing():
        for report in train_reports(settings, name=name, runs_dir=runs_dir, resume=resume, overrides=overrides):
            path = getattr(report, "run", path)
            view.show(report)
            if observe:
                observe(report)
    return Run(path)


def sweep(
    source: str | Path | Plan,
    *,
    runs_dir: str | Path | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    overrides: Sequence[str] = (),
    progress: bool | None = None,
    observe: Callable[[SweepEvent], None] | None = None,
) -> Results:
    """Run a sweep, or the rest of one that was interrupted, and return its results.

    Worker processes are spawned, so a script must call this under `if __name__ == "__main__":`.

    Args:
        source: a sweep file, the name of a bundled one, or a plan.
        runs_dir: the folder that holds the sweep's folder; None takes CHARLM_RUNS_DIR or ./runs.
        jobs: number of worker processes; None starts one per core.
        scheduler: the address of a Dask scheduler whose workers share the runs folder; None runs the workers here.
        overrides: texts `section.key=value` that override the base of the sweep file.
        progress: whether to show progress on standard error; None shows it in a terminal and in a notebook.
        observe: called with each report of `sweep_reports`.
    Returns:
        The configurations, the best first, and the trials.
    Raises:
        CharlmError: for a bad file, before anything is started; a trial that fails is reported in the results.

    Example:
        >>> results = charlm.sweep("tiny.yaml", jobs=1)
        >>> results.best.state, sorted(each.settings["model.cell"] for each in results.configurations)
        ('finished', ['gru', 'rnn'])
    """
    results: Results | None = None
    view = SweepView(quiet=not (is_watched() if progress is None else progress))
    with view.showing():
        for report in sweep_reports(source, runs_dir=runs_dir, jobs=jobs, scheduler=scheduler, overrides=overrides):
            view.show(report)
            if observe:
                observe(report)
            if isinstance(report, SweepEnd):
                results = report.results
    assert results is not None
    return results
