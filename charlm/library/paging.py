"""Write a trained network into one HTML page, which anybody can open: the network runs in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from charlm.errors import ConfigError
from charlm.insight.findings import Findings
from charlm.insight.neurons import Neuron
from charlm.library.models import Model, open_run
from charlm.library.named_runs import RunName, runs_of
from charlm.library.openings import Opening, opening
from charlm.library.page_learning import Report, learned
from charlm.pages.document import page_document
from charlm.pages.models import PageModel, page_weights
from charlm.pages.weights import WeightFormat
from charlm.runs.checkpoints import Choice
from charlm.runs.durable import replace_file
from charlm.runs.model_file import ENDING, ModelFile, is_model_file
from charlm.runs.outputs import check_output_file
from charlm.runs.run import Run, find_run, runs_folder


@dataclass(frozen=True)
class PagedRun:
    """A network of a page that was written.

    Args:
        run: what the page calls it.
        step: the step of its checkpoint.
        num_parameters: how many numbers it has.
        weight_format: float32, float16 or int8.
        weight_bytes: how many bytes they take, before base64 makes four of three.
        note: what must be said about it; None for a forward model.
    """

    run: str
    step: int
    num_parameters: int
    weight_format: WeightFormat
    weight_bytes: int
    note: str | None


@dataclass(frozen=True)
class PageFile:
    """A page that was written.

    Args:
        path: its file.
        num_bytes: the size of the file.
        runs: its networks.
    """

    path: Path
    num_bytes: int
    runs: tuple[PagedRun, ...]


def page(
    *runs: Run | str | Path,
    file: str | Path | None = None,
    int8: bool = False,
    force: bool = False,
    checkpoint: Choice = "best",
    all_networks: bool = False,
    inspected: bool = True,
    runs_dir: str | Path | None = None,
    report: Report | None = None,
) -> PageFile:
    """Write a network into one HTML page, which opens from disk in a browser and makes no requests.

    With the seed and the filters of `generate` it writes the same text, because it draws by the same rule from the same
    random numbers. Weights are float32 below a million parameters, and float16 from there on. The page also shows how
    the network learned, beside other runs.

    Args:
        runs: runs, their names or paths, or files that `charlm export` wrote; without one, the newest run. The first is
            the network of the page; the others are runs or sweeps, which are drawn beside it as it learned.
        file: the file to write; None takes the first run's name, with the ending .html, in the present folder.
        int8: whether matrices are kept with 8 bits a number, for a quarter of the size and slightly other texts.
        force: whether to replace a file that exists.
        checkpoint: best, last, or the number of a step.
        all_networks: whether the page has the networks of all runs, from which a reader chooses.
        inspected: whether to look inside the networks as `inspect` does, which takes some seconds for each.
        runs_dir: the folder of runs; None takes CHARLM_RUNS_DIR or ./runs.
        report: called with what is measured, how much of it is done and the total.
    Returns:
        The page's path and size, and the formats and sizes of its weights.
    Raises:
        ConfigError: for a backward and for a leaky model, and for a file that exists or is not a regular file.
        RunError: for a run or a checkpoint that is missing or damaged.
        StorageError: if the disk does not accept it.
    Warns:
        CharlmWarning: for what cannot be shown, such as the curve of another run that is damaged.

    Example:
        >>> page = charlm.page("my-run", "list", file="page.html", inspected=False)
        >>> page.num_bytes < 250_000, [(run.run, run.weight_format) for run in page.runs]
        (True, [('my-run', 'float32')])
    """
    first, others = _found(runs, runs_folder(runs_dir))
    chosen = (first, *others * all_networks)
    opened = [open_run(run, checkpoint=checkpoint, runs_dir=runs_dir) for run in chosen]
    for model in opened:
        model.networks.check_single()
    path = Path(f"{_name(opened[0])}.html" if file is None else file)
    check_output_file(path, force=force, example="page.html")
    models = [page_model(model, int8=int8) for model in opened]
    learn = learned(opened[0], first, others, checkpoint=checkpoint, inspected=inspected, report=report)
    models[0] = replace(models[0], neurons=_meant(learn.findings))
    content = page_document(models, learn=learn.data.as_json())
    replace_file(path, content)
    return PageFile(path, len(content), tuple(map(_paged, models)))


def _found(names: Sequence[RunName], folder: Path) -> tuple[Run | Path, list[Run | Path]]:
    """Return the run or file of the page, and the others, which may be whole sweeps.

    Raises:
        RunError: for a run that is missing.
    """
    first, *others = names or (find_run(None, folder=folder),)
    return _named(first, folder), [_named(name, folder) for name in runs_of(others, folder)]


def _named(name: RunName, folder: Path) -> Run | Path:
    if isinstance(name, Run):
        return name
    return Path(name) if is_model_file(name, folder=folder) else find_run(str(name), folder=folder)


def page_model(model: Model, *, int8: bool = False) -> PageModel:
    """Return a model as a page carries it.

    Args:
        model: a model from `open_run`.
        int8: see `page`.
    Raises:
        ConfigError: for a backward and for a leaky model.
    """
    checkpoint, name, summary = model.checkpoint, _name(model), model.summary()
    weights = page_weights(name, checkpoint.settings.model, checkpoint.model, int8=int8)
    start = _opening(model)
    val = summary.val if summary is not None and summary.best_step == checkpoint.step else None
    return PageModel(
        name=name,
        checkpoint=checkpoint,
        weights=weights,
        opening=start.text if start else None,
        is_shown=start is not None and not start.is_line_end,
        license=model.run.license if isinstance(model.run, ModelFile) else "",
        bits_per_char=val.bpc if val is not None else None,
    )


def _meant(findings: Findings | None) -> tuple[Neuron, ...]:
    """Return the units that follow a feature better than chance does, for each feature the best one."""
    return tuple(each for each in (findings and findings.neurons) or () if each.beats_chance)


def _opening(model: Model) -> Opening | None:
    """Return how a text begins without a prefix; None where the model needs one."""
    try:
        return opening(model)
    except ConfigError:
        return None


def _name(model: Model) -> str:
    return model.run.name.removesuffix(ENDING)


def _paged(model: PageModel) -> PagedRun:
    weights = model.weights
    sizes = (weights.num_parameters, weights.format, len(weights.data))
    return PagedRun(model.name, model.checkpoint.step, *sizes, model.note)
