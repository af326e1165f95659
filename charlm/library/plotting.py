"""Draw learning curves, or what a sweep has found, into a file, and return what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from charlm.errors import ConfigError, printable
from charlm.library.named_runs import runs_of, sweep_of
from charlm.reports.comparison import compare
from charlm.reports.learning import learning_picture
from charlm.reports.pictures import Picture
from charlm.reports.plotting import check_output, check_picture, save_picture
from charlm.reports.requests import Request, read_request
from charlm.reports.sweep_pictures import sweep_picture
from charlm.runs.run import Run, find_run, runs_folder

Words = str | Sequence[str]


def plot(
    *runs: str | Path | Run,
    file: str | Path | None = None,
    x: Words | None = None,
    y: Words = "perplexity",
    part: Words | None = None,
    panels: bool = False,
    force: bool = False,
    runs_dir: str | Path | None = None,
) -> Picture:
    """Draw the learning curves of runs, or the results of a sweep, into a file; without one, only choose the points.

    Runs that differ only in their random seed share a line: their mean, with a band of one standard deviation.
    Training is dashed: against epochs, it is the mean of each whole epoch, and otherwise that since the evaluation
    before. Validation is a whole line, and the best n-gram that is known is a level one.

    Args:
        runs: runs or sweeps, or their names or paths; without any, the newest run.
        file: the file to write, which ends in .svg, .png or .pdf; None writes none.
        x: epoch, step, chars or time, or several of them. A sweep without it is drawn by its settings, and with it by
            the learning curves of its runs.
        y: perplexity, bpc or nats (per character), or several of them, each with panels of its own.
        part: train or val; None takes both.
        panels: whether each line has panels of its own.
        force: whether to replace a file that exists.
        runs_dir: the folder of runs; None takes CHARLM_RUNS_DIR or ./runs.
    Returns:
        What is drawn; `as_record()` has the points.
    Raises:
        ConfigError: for a word that is not among these, for a file that exists, or if Matplotlib is missing.
        RunError: for a run that is missing, or if there is nothing to draw.
        StorageError: if the file cannot be written.

    Example:
        >>> picture = charlm.plot("my-run", "both-ways", file="perplexity.svg", part="val")
        >>> [(panel.x.name, panel.y.title) for panel in picture.panels]
        [('epoch', 'validation perplexity')]
    """
    request = read_request(x=x or "epoch", y=y, part=part or ("train", "val"), panels=panels)
    if file is not None:
        check_output(Path(file), force=force)
    folder = runs_folder(runs_dir)
    sweeps = {str(each): path for each in runs if (path := sweep_of(each, folder))}
    if sweeps and x is None:
        _check_sweep(runs, sweeps, request, for_curves="part" if part else "panels" if panels else None)
        picture = sweep_picture(next(iter(sweeps.values())), request.y[0])
    else:
        found = list(runs_of(runs, folder)) if runs else [find_run(None, folder=folder)]
        picture = learning_picture(compare(*found, runs_dir=runs_dir), request)
    check_picture(picture)
    if file is not None:
        save_picture(picture, file, force=force)
    return picture


def _check_sweep(
    runs: Sequence[str | Path | Run], sweeps: dict[str, Path], request: Request, *, for_curves: str | None
) -> None:
    """Refuse what does not go together with the picture of a sweep.

    Args:
        for_curves: what was asked for that only learning curves have.
    """
    if len(runs) > 1:
        raise ConfigError(
            f"the sweep {printable(next(iter(sweeps)))} has a picture of its own: name it alone, or give --x epoch "
            "to draw the learning curves of its runs"
        )
    if for_curves:
        raise ConfigError(f"--{for_curves} is for learning curves: for those of a sweep's runs, give --x epoch too")
    if len(request.y) > 1:
        raise ConfigError("a sweep is drawn in one unit: give --y one of perplexity, bpc and nats")
