"""What the command line does, as functions: train, open, evaluate, generate."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from charlm.errors import CharlmError, CharlmWarning, ConfigError, TextError
from charlm.evaluation import gaps
from charlm.evaluation.assessment import Assessment
from charlm.evaluation.assessment import assess as assess_ids
from charlm.evaluation.baselines import fit_baselines
from charlm.evaluation.figure import Figures
from charlm.evaluation.gaps import GapScore
from charlm.evaluation.reading import evaluate as evaluate_ids
from charlm.generation.filters import CALM, Filters
from charlm.generation.infill import fill_gap
from charlm.generation.sampling import CausalNetwork, sample_texts, writing_half
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.building import Network
from charlm.networks.language_model import CharLM
from charlm.networks.leaky import WARNING
from charlm.runs.checkpoints import Checkpoint, Choice, load_checkpoint, restore_model
from charlm.runs.folder import Run, find_run, runs_folder
from charlm.runs.texts import read_files, read_part, read_split
from charlm.settings.layers import load_settings
from charlm.settings.schema import Direction
from charlm.text.cleaning import clean_prefix
from charlm.text.encoding import hash_ids
from charlm.text.splits import Part
from charlm.text.vocabulary import Ids
from charlm.training.experiment import choose_device
from charlm.training.launch import train, train_reports

__all__ = [
    "Model",
    "assess",
    "evaluate",
    "generate",
    "load_settings",
    "open_run",
    "score_gaps",
    "train",
    "train_reports",
]


@dataclass(frozen=True)
class Model:
    """A checkpoint's network with what belongs to it."""

    run: Run
    checkpoint: Checkpoint
    network: Network

    @property
    def direction(self) -> Direction:
        """The model's direction."""
        return self.checkpoint.settings.model.direction

    @property
    def warning(self) -> str | None:
        """What must stand beside every figure of a leaky model; None for the others."""
        return WARNING if self.direction == "leaky" else None

    def encode(self, text: str, what: str) -> tuple[str, Ids]:
        """Return a text, cleaned as the corpus was, and its ids.

        Args:
            text: a prefix or a suffix.
            what: its name in messages.
        Raises:
            TextError: for characters the model has never seen, and for an empty text.
        """
        corpus = self.checkpoint.settings.corpus
        cleaned = clean_prefix(text, corpus.clean)
        ids = self.checkpoint.vocabulary.encode(cleaned, unknown=corpus.unknown, what=f"the {what}")
        if len(ids) == 0:
            raise TextError(f"the {what} is empty: a model writes on from at least one character it knows")
        return cleaned, ids

    def writer(self) -> CausalNetwork:
        """Return what writes on from a prefix.

        Raises:
            ConfigError: for a backward model.
        """
        if self.direction == "backward":
            raise ConfigError(f"the model of run {self.run.name} reads backwards: give it --suffix, not --prefix")
        return writing_half(self.network)

    def backward_writer(self) -> CharLM:
        """Return what writes what comes before a suffix.

        Raises:
            ConfigError: for a model that only reads forwards.
        """
        if isinstance(self.network, BidirectionalLM):
            return self.network.backward_half
        if self.direction == "backward" and isinstance(self.network, CharLM):
            return self.network
        raise ConfigError(
            f"the model of run {self.run.name} reads forwards only and cannot write towards a suffix: train one with "
            "model.direction backward or bidirectional"
        )

    def gap_filler(self) -> BidirectionalLM:
        """Return what fills gaps.

        Raises:
            ConfigError: for a model that reads one way only.
        """
        if isinstance(self.network, BidirectionalLM):
            return self.network
        raise ConfigError(
            f"the model of run {self.run.name} reads one way only ({self.direction}) and cannot fill a gap: train one "
            "with model.direction bidirectional"
        )


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
    prefix: str | None = None,
    *,
    suffix: str | None = None,
    length: int = 200,
    num_samples: int = 1,
    seed: int = 0,
    filters: Filters = CALM,
    stops: Sequence[str] = (),
    passes: int = 20,
) -> Iterator[str]:
    """Yield whole texts that begin with the prefix, end with the suffix, or both.

    Args:
        model: from `open_run`, or a run, whose best checkpoint is taken.
        prefix: what the texts begin with, at least one character that the model knows.
        suffix: what they end with; with a prefix too, the gap between them is filled.
        length: characters written, at most; exactly so many in a gap.
        num_samples: how many texts.
        seed: sample k of a seed is the same however many are asked for.
        filters: temperature, top_k, top_p, min_p.
        stops: a text ends before the first of these (begins after the last, before a suffix); none for a gap.
        passes: Gibbs passes over a gap.
    Raises:
        ConfigError: for what the model cannot do.
        TextError: for characters it has never seen.
    """
    model = model if isinstance(model, Model) else open_run(model)
    options: dict[str, Any] = {"length": length, "num_samples": num_samples, "seed": seed, "filters": filters}
    if prefix is not None and suffix is not None:
        yield from _fill_between(model, prefix, suffix, passes=passes, **options)
    elif suffix is not None:
        yield from _write_towards(model, suffix, stops=[stop[::-1] for stop in stops], **options)
    else:
        network = model.writer()
        before, ids = model.encode(prefix or "", "prefix")
        texts = sample_texts(network, model.checkpoint.vocabulary, ids, stops=stops, **options)
        yield from (before + text for text in texts)


def _write_towards(model: Model, suffix: str, **options: Any) -> Iterator[str]:
    network = model.backward_writer()
    after, ids = model.encode(suffix, "suffix")
    texts = sample_texts(network, model.checkpoint.vocabulary, ids[::-1], **options)
    yield from (text[::-1] + after for text in texts)


def _fill_between(model: Model, prefix: str, suffix: str, **options: Any) -> Iterator[str]:
    network = model.gap_filler()
    before, prefix_ids = model.encode(prefix, "prefix")
    after, suffix_ids = model.encode(suffix, "suffix")
    fillings = fill_gap(network, model.checkpoint.vocabulary, prefix_ids, suffix_ids, **options)
    yield from (before + text + after for text in fillings)


def score_gaps(
    model: Model | Run,
    *,
    gap: int = 5,
    every: int = 25,
    split: str = "test",
    files: Sequence[str | Path] = (),
    passes: int = gaps.DEFAULT_PASSES,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> GapScore:
    """Score how well a bidirectional model fills gaps, from the left side alone and from both; see `evaluation.gaps`.

    Args:
        model: from `open_run`, or a run, whose best checkpoint is taken.
        gap: characters in a gap.
        every: characters from the start of one gap to the next.
        split: train, val or test; not used when files are given.
        files: texts read one after the other.
        passes: Gibbs passes that are averaged.
        seed: of the draws.
        report: called with the gaps done and their number.
    Raises:
        ConfigError: for a model that reads one way only.
        TextError: for a text too short for a gap.
    """
    model = model if isinstance(model, Model) else open_run(model)
    filler = model.gap_filler()
    ids = read_files(model.checkpoint, files) if files else read_part(model.run, model.checkpoint, split)
    return gaps.score_gaps(filler, ids, gap=gap, every=every, passes=passes, seed=seed, report=report)


def evaluate(
    model: Model | Run,
    *,
    split: str = "test",
    files: Sequence[str | Path] = (),
    report: Callable[[int, int], None] | None = None,
) -> Figures:
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
    ids = _read_text(model, split, files)
    reading = ids[::-1] if model.direction == "backward" else ids
    return evaluate_ids(model.network, reading, report=_of_total(report, len(ids) - 1))


def assess(
    model: Model | Run,
    *,
    split: str = "test",
    files: Sequence[str | Path] = (),
    baselines: bool = True,
    report: Callable[[int, int], None] | None = None,
) -> Assessment:
    """Measure a model as `evaluate` does, with an interval and what n-grams and compressors make of the same text.

    Args:
        model: from `open_run`, or a run, whose best checkpoint is taken.
        split: train, val or test; not used when files are given.
        files: texts read one after the other, with the run's encoding, cleaning and unknown policy.
        baselines: whether to fit them on the run's training part, which has none itself: they would know each of its
            characters. Where files are given and that part cannot be had, a `CharlmWarning` says why there are none.
        report: called with the characters done and their total.
    Raises:
        TextError: for a text shorter than two characters or with unknown characters, or a changed corpus.
        RunError: for a part that the run does not have.
    """
    model = model if isinstance(model, Model) else open_run(model)
    ids, vocabulary = _read_text(model, split, files), model.checkpoint.vocabulary
    encoding = model.checkpoint.settings.corpus.encoding
    has_baselines = baselines and (bool(files) or split != "train")
    part, known = Part(ids, hash_ids(ids, vocabulary)), _known_text(model) if has_baselines else None
    if model.direction == "backward":
        part, known = replace(part, ids=ids[::-1]), known if known is None else known[::-1]
    return assess_ids(
        model.network,
        part,
        vocabulary,
        encoding=encoding,
        baselines=None if known is None else fit_baselines(known, vocabulary, encoding),
        report=_of_total(report, len(ids) - 1),
    )


def _known_text(model: Model) -> Ids | None:
    """Return the training part; None, with a warning, where it is not at hand, as it is for a part of its corpus."""
    try:
        return read_split(model.run, model.checkpoint).train.ids
    except CharlmError as error:
        warnings.warn(f"the figure has no baselines beside it: {error}", CharlmWarning, stacklevel=3)
        return None


def _of_total(report: Callable[[int, int], None] | None, total: int) -> Callable[[int], None]:
    def advance(done: int) -> None:
        if report:
            report(done, total)

    return advance


def _read_text(model: Model, split: str, files: Sequence[str | Path]) -> Ids:
    ids = read_files(model.checkpoint, files) if files else read_part(model.run, model.checkpoint, split)
    if len(ids) < 2:
        raise TextError(f"the text has {len(ids)} characters: at least two are needed to predict one")
    return ids
