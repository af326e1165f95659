"""A run's model, opened: its network with what belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from charlm.errors import ConfigError, TextError
from charlm.evaluation.subject import Subject
from charlm.generation.sampling import CausalNetwork, writing_half
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.building import Network
from charlm.networks.language_model import CharLM
from charlm.networks.leaky import WARNING
from charlm.runs.checkpoints import Checkpoint, Choice, load_checkpoint, restore_model
from charlm.runs.run import Run, find_run, runs_folder
from charlm.settings.model import Direction
from charlm.text.cleaning import clean_prefix
from charlm.text.vocabulary import Ids
from charlm.training.resolution import choose_device


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

    @property
    def subject(self) -> Subject:
        """What is said of the model beside its figures."""
        return Subject(self.run.name, self.checkpoint.step, self.warning)

    @property
    def unknown_remedy(self) -> str:
        """What can be done about a measured text with characters that the model does not know; ends a sentence."""
        if self.checkpoint.vocabulary.has_unknown:
            return "; --unknown replace reads them as the model's unknown symbol, --unknown skip leaves them out"
        return "; --unknown skip leaves such characters out"

    def encode(self, text: str, what: str) -> tuple[str, Ids]:
        """Return a text, cleaned as the corpus was, and its ids.

        Args:
            text: a prefix or a suffix.
            what: its name in messages.
        Raises:
            TextError: for characters the model has never seen, and for an empty text.
        """
        corpus, vocabulary = self.checkpoint.settings.corpus, self.checkpoint.vocabulary
        cleaned = clean_prefix(text, corpus.clean)
        ids = vocabulary.encode(cleaned, unknown=vocabulary.policy(corpus.unknown), what=f"the {what}")
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


def opened(model: Model | Run) -> Model:
    """Return a model as it is, or the best checkpoint of a run: what every public function of a model takes."""
    return model if isinstance(model, Model) else open_run(model)


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
