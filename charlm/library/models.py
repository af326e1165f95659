"""Open the model of a run: its network with the vocabulary, the settings and the step."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from charlm.errors import CharlmWarning, ConfigError, TextError
from charlm.evaluation.characters import ScoredCharacter
from charlm.evaluation.figure import Figures
from charlm.evaluation.subject import Subject
from charlm.generation.filters import Filters
from charlm.library.networks import Networks
from charlm.networks.predictor import Predictor
from charlm.runs.checkpoints import Checkpoint, Choice, load_checkpoint
from charlm.runs.ensembles import is_ensemble
from charlm.runs.model_file import ModelFile, is_model_file, read_model_file
from charlm.runs.records import EvaluationLine, Summary
from charlm.runs.run import Run, find_run, runs_folder
from charlm.settings.corpus import UnknownPolicy
from charlm.settings.model import LEAKY_WARNING, Direction
from charlm.text.cleaning import clean_prefix
from charlm.text.forms import Matched, match_form
from charlm.text.items import begin_item, boundary_character, boundary_id
from charlm.text.nearest_characters import remedy_of_unknown
from charlm.text.vocabulary import Ids

if TYPE_CHECKING:
    from charlm.evaluation.windows import Readable
    from charlm.library.ensembles import MixedNetworks
    from charlm.networks.bidirectional import BidirectionalLM
    from charlm.networks.building import Network


class GenerateOptions(TypedDict, total=False):
    """The arguments of `generate` besides the prefix; see there."""

    suffix: str | None
    length: int | None
    num_samples: int
    seed: int
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    filters: Filters | None
    stops: Sequence[str]
    passes: int


@dataclass(frozen=True, repr=False)
class Model:
    """A network with its checkpoint, or an ensemble; the methods do what the functions of the same names do.

    Args:
        run: the run that the model belongs to, or the file that it was read from.
        checkpoint: its settings, vocabulary, weights and step; of an ensemble, what its members have in common.
        networks: the networks, which are made when they are needed.
        unknown: what to do with unknown characters in a prompt; None takes the policy of the run.

    Example:
        >>> model = charlm.open_run("my-run")
        >>> model
        Model(run='my-run', step=60, direction='forward', cell='lstm', num_layers=1, hidden_size=8, vocab_size=19)
        >>> model.generate("the ", length=10, temperature=0)[0].startswith("the ")
        True
        >>> round(model.evaluate(split="val").main.bits_per_char) < 5
        True
        >>> text, ids = model.encode("the cat", "prefix")
        >>> logits, state = model.network(torch.tensor(ids.astype("int64"))[:, None])
        >>> logits.shape
        torch.Size([7, 1, 19])
    """

    run: Run | ModelFile
    checkpoint: Checkpoint
    networks: Networks | MixedNetworks
    unknown: UnknownPolicy | None = None

    def __repr__(self) -> str:
        """Describe the run, the step and the network in one line."""
        size = len(self.checkpoint.vocabulary)
        return f"Model(run={self.run.name!r}, {self.networks.description}, vocab_size={size})"

    @property
    def network(self) -> Network:
        """The torch module; `model.network(ids)` of ids (T, B) returns logits (T, B, V) and the state after them."""
        return self.networks.torch

    def generate(self, prefix: str | None = None, **options: Unpack[GenerateOptions]) -> list[str]:
        """Generate texts; the options are those of `charlm.generate`."""
        from charlm.library.writing import generate

        return generate(self, prefix, **options)

    def score(self, text: str | None = None, *, files: Sequence[str | Path] = ()) -> Iterator[ScoredCharacter]:
        """Return each character of a text with its probability; see `charlm.score`."""
        from charlm.library.scoring import score

        return score(self, text, files=files)

    def evaluate(self, *, split: str = "test", files: Sequence[str | Path] = ()) -> Figures:
        """Measure the model on a split of its corpus, or on other files; see `charlm.evaluate`."""
        from charlm.library.measuring import evaluate

        return evaluate(self, split=split, files=files)

    def summary(self) -> Summary | None:
        """Return the closing results of the model's run; None where the run has not finished."""
        return self.run.summary()

    def metrics(self) -> Sequence[EvaluationLine | Summary]:
        """Return the evaluations of the model's run and, last, its closing results."""
        return self.run.metrics()

    @property
    def direction(self) -> Direction:
        """The direction in which the model reads."""
        return self.checkpoint.settings.model.direction

    @property
    def warning(self) -> str | None:
        """The warning that must accompany every result of a leaky model; None for other models."""
        return LEAKY_WARNING if self.direction == "leaky" else None

    @property
    def subject(self) -> Subject:
        """How the model is named in its results."""
        return Subject(self.run.name, self.networks.step, self.warning)

    @property
    def unknown_remedy(self) -> str:
        """The end of a sentence that says what to do about unknown characters in a measured text."""
        if self.checkpoint.vocabulary.has_unknown:
            return "; --unknown replace reads them as the model's unknown symbol, --unknown skip leaves them out"
        return "; --unknown skip leaves such characters out"

    @property
    def end(self) -> str | None:
        """The character that ends an item, for a model of items; None for a model of running text."""
        return boundary_character(self.checkpoint.settings.corpus)

    @property
    def boundary(self) -> int | None:
        """The id of that character."""
        return boundary_id(self.checkpoint.settings.corpus, self.checkpoint.vocabulary)

    def encode(self, text: str, what: str) -> tuple[str, Ids]:
        """Return a text, cleaned as the corpus was, and its ids; those of an item have its begin before them.

        Args:
            text: a prefix or a suffix.
            what: its name in messages.
        Raises:
            TextError: for characters the model has never seen, and for an empty text.
        Warns:
            CharlmWarning: where accents are converted to the Unicode form of the corpus.
        """
        vocabulary, clean = self.checkpoint.vocabulary, self.cleaned(text, f"the {what}")
        policy = self.unknown or vocabulary.policy(self.checkpoint.settings.corpus.unknown)
        try:
            ids = vocabulary.encode(clean, unknown=policy, what=f"the {what}")
        except TextError as error:
            raise TextError(f"{error}{remedy_of_unknown(text, clean, vocabulary)}") from None
        ids = begin_item(ids, self.boundary, self.direction, f"the {what}")
        if len(ids) == 0:
            is_known = "is empty" if not clean else "has no character that this model knows"
            raise TextError(f"the {what} {is_known}: the model needs at least one character that it knows")
        return clean, ids

    def with_unknown(self, policy: UnknownPolicy | None) -> Model:
        """Return the model with another policy for unknown characters; None takes the policy of its run."""
        return replace(self, unknown=policy)

    def cleaned(self, text: str, what: str) -> str:
        """Return a prefix or a suffix with the line ends, cleaning and Unicode form of the corpus.

        Args:
            text: the text as it was typed.
            what: its name in messages.
        Warns:
            CharlmWarning: where accents are converted to the Unicode form of the corpus.
        """
        matched = self.matched(text)
        if told := matched.told(what):
            warnings.warn(told, CharlmWarning, stacklevel=3)
        return matched.text

    def matched(self, text: str) -> Matched:
        """Return what `cleaned` returns, with the conversion that it warns of."""
        return match_form(clean_prefix(text, self.checkpoint.settings.corpus.clean), self.checkpoint.vocabulary)

    @property
    def readable(self) -> Readable:
        """What scores texts; see `Networks`."""
        return self.networks.readable

    def writer(self) -> Predictor:
        """Return what continues a prefix.

        Raises:
            ConfigError: for a backward model.
        """
        if self.direction == "backward":
            raise ConfigError(f"the model of run {self.run.name} reads backwards: give it --suffix, not --prefix")
        return self.networks.main

    def backward_writer(self) -> Predictor:
        """Return what writes the text before a suffix.

        Raises:
            ConfigError: for a model that reads forwards only.
        """
        if self.direction == "bidirectional":
            return self.networks.backward
        if self.direction == "backward":
            return self.networks.main
        raise ConfigError(
            f"the model of run {self.run.name} reads forwards only and cannot write towards a suffix: train one with "
            "model.direction backward or bidirectional"
        )

    def gap_filler(self) -> BidirectionalLM:
        """Return the network that fills gaps.

        Raises:
            ConfigError: for a model that reads in one direction only.
        """
        if self.direction == "bidirectional":
            return self.network  # pyright: ignore[reportReturnType]
        raise ConfigError(
            f"the model of run {self.run.name} reads in one direction only ({self.direction}) and cannot fill a gap: "
            "train one with model.direction bidirectional"
        )


def opened(model: Model | Run | str | Path) -> Model:
    """Return a model unchanged, or open the best checkpoint of a run; every public function accepts either."""
    return model if isinstance(model, Model) else open_run(model)


def open_run(
    name: str | Path | Run | None = None,
    *,
    checkpoint: Choice = "best",
    runs_dir: str | Path | None = None,
    device: str = "cpu",
) -> Model:
    """Open a checkpoint of a run, or a model in one file, to generate with it and to evaluate it.

    Args:
        name: a run, its name or its path, or the path of a file that `charlm export` wrote; None takes the newest run
            that has a checkpoint.
        checkpoint: best, last, or the number of a step.
        runs_dir: the folder of runs; None takes CHARLM_RUNS_DIR or ./runs.
        device: auto, cpu, cuda or mps; a checkpoint saved on one device loads on any other.
    Raises:
        RunError: for a run or a checkpoint that is missing or damaged.
        ConfigError: for a device that this machine does not have.

    Example:
        >>> model = charlm.open_run("my-run", checkpoint="last")
        >>> model.checkpoint.step, model.checkpoint.vocabulary.characters[:5]
        (60, '\\n .ac')
    """
    folder = runs_folder(runs_dir)
    if device not in ("auto", "cpu"):
        from charlm.training.resolution import choose_device

        choose_device(device)
    if isinstance(name, str | Path) and is_model_file(name, folder=folder):
        file = read_model_file(Path(name))
        return Model(file, file.choose(checkpoint), Networks(file.checkpoint, device))
    run = name if isinstance(name, Run) else find_run(name and str(name), folder=folder)
    if is_ensemble(run):
        from charlm.library.ensembles import open_ensemble

        return open_ensemble(run, checkpoint, device)
    loaded = load_checkpoint(run, checkpoint)
    return Model(run, loaded, Networks(loaded, device))
