"""What the command line does, as functions: train, open, evaluate, generate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from charlm.errors import RunError, TextError
from charlm.evaluation.figure import Figure
from charlm.evaluation.figure import evaluate as evaluate_ids
from charlm.generation.filters import Filters
from charlm.generation.sampling import sample_texts
from charlm.networks.language_model import CharLM
from charlm.runs.checkpoints import Checkpoint, Choice, load_checkpoint, restore_model
from charlm.runs.folder import Run, check_run_name, create_run, find_run, runs_folder
from charlm.settings.layers import load_settings
from charlm.settings.schema import Settings
from charlm.text.cleaning import clean_prefix
from charlm.text.corpus import hash_files, locate_corpus
from charlm.text.encoding import encode_text, load_corpus, read_cleaned
from charlm.text.splits import split_corpus
from charlm.text.vocabulary import Ids
from charlm.training.experiment import choose_device, prepare
from charlm.training.loop import run_training
from charlm.training.reports import Report

__all__ = ["Model", "evaluate", "generate", "load_settings", "open_run", "train", "train_reports"]


@dataclass(frozen=True)
class Model:
    """A checkpoint's network with what belongs to it."""

    run: Run
    checkpoint: Checkpoint
    network: CharLM

    def encode_prefix(self, prefix: str) -> tuple[str, Ids]:
        """Return a prefix, cleaned as the corpus was, and its ids.

        Raises:
            TextError: for characters the model has never seen, and for an empty prefix.
        """
        corpus = self.checkpoint.settings.corpus
        cleaned = clean_prefix(prefix, corpus.clean)
        ids = self.checkpoint.vocabulary.encode(cleaned, unknown=corpus.unknown, what="the prefix")
        if len(ids) == 0:
            raise TextError("the prefix is empty: a model writes on from at least one character it knows")
        return cleaned, ids


def train_reports(
    settings: Settings,
    *,
    name: str | None = None,
    runs_dir: Path | None = None,
    should_stop: Callable[[], str | None] = lambda: None,
) -> Iterator[Report]:
    """Train a new run, yielding its reports; the first holds the run's folder, the last its closing figures.

    Args:
        settings: from `load_settings`.
        name: of the run; None takes the time and the model.
        runs_dir: where it lies; None takes CHARLM_RUNS_DIR or ./runs.
        should_stop: asked after each step; a word saves a checkpoint and ends the run.
    Raises:
        CharlmError: each kind with a sentence and an exit code of its own.
    """
    folder = runs_folder(runs_dir)
    if name is not None:
        check_run_name(name, folder)
    experiment = prepare(settings)
    run = create_run(experiment.settings, experiment.facts, folder=folder, name=name)
    yield from run_training(experiment, run, should_stop=should_stop)


def train(
    settings: Settings,
    *,
    name: str | None = None,
    runs_dir: Path | None = None,
    observe: Callable[[Report], None] | None = None,
) -> Run:
    """Train a new run to its end and return it; see `train_reports`.

    Args:
        observe: called with each report.
    """
    path = Path()
    for report in train_reports(settings, name=name, runs_dir=runs_dir):
        path = getattr(report, "run", path)
        if observe:
            observe(report)
    return Run(path)


def open_run(
    name: str | Path | Run | None = None,
    *,
    checkpoint: Choice = "best",
    runs_dir: Path | None = None,
    device: str = "cpu",
) -> Model:
    """Open a run's checkpoint for writing and evaluating.

    Args:
        name: a run, its name or its path; None takes the newest run that has a checkpoint.
        checkpoint: best, last, or a step.
        runs_dir: where runs lie; None takes CHARLM_RUNS_DIR or ./runs.
        device: auto, cpu, cuda, or mps; a run saved on one loads on another.
    Raises:
        RunError: for a run or checkpoint that is missing or damaged.
    """
    run = name if isinstance(name, Run) else find_run(name and str(name), folder=runs_folder(runs_dir))
    loaded = load_checkpoint(run, checkpoint)
    return Model(run, loaded, restore_model(loaded, device=choose_device(device)))


def generate(
    model: Model | Run,
    prefix: str,
    *,
    length: int = 200,
    num_samples: int = 1,
    seed: int = 0,
    filters: Filters = Filters(temperature=0.8),  # noqa: B008 - frozen
    stops: Sequence[str] = (),
) -> list[str]:
    """Return texts that begin with the prefix.

    Args:
        model: from `open_run`, or a run, whose best checkpoint is taken.
        prefix: at least one character that the model knows.
        length: characters after the prefix, at most.
        num_samples: how many texts.
        seed: sample k of a seed is the same however many are asked for.
        filters: temperature, top_k, top_p, min_p.
        stops: a text ends before the first of these.
    """
    model = model if isinstance(model, Model) else open_run(model)
    cleaned, ids = model.encode_prefix(prefix)
    texts = sample_texts(
        model.network,
        model.checkpoint.vocabulary,
        ids,
        num_samples=num_samples,
        seed=seed,
        length=length,
        filters=filters,
        stops=stops,
    )
    return [cleaned + text for text in texts]


def evaluate(
    model: Model | Run,
    *,
    split: str = "test",
    files: Sequence[str | Path] = (),
    report: Callable[[int, int], None] | None = None,
) -> Figure:
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
    ids = _read_files(model, files) if files else _read_part(model, split)
    if len(ids) < 2:
        raise TextError(f"the text has {len(ids)} characters: at least two are needed to predict one")

    def advance(done: int) -> None:
        if report:
            report(done, len(ids) - 1)

    return evaluate_ids(model.network, ids, report=advance)


def _read_files(model: Model, files: Sequence[str | Path]) -> Ids:
    corpus = model.checkpoint.settings.corpus.model_copy(
        update={"name": None, "path": tuple(str(file) for file in files), "max_chars": None}
    )
    chunks = read_cleaned(locate_corpus(corpus), corpus)
    return encode_text(chunks, model.checkpoint.vocabulary, unknown=corpus.unknown)


def _read_part(model: Model, name: str) -> Ids:
    settings = model.checkpoint.settings
    recorded = model.run.environment()["corpus_sha256"]
    found, _ = hash_files(locate_corpus(settings.corpus))
    if found != recorded:
        raise TextError(
            f"the corpus has changed since the run {model.run.name} was trained (SHA-256 {found[:12]}, recorded "
            f"{recorded[:12]}): name a file with --corpus instead"
        )
    part = split_corpus(load_corpus(settings.corpus, settings.vocabulary), settings.corpus).part(name)
    if part is None:
        raise RunError(f"the run {model.run.name} has no {name} part (corpus.split {settings.corpus.split})")
    return part.ids
