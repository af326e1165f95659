"""The typed configuration: every setting, its unit, its bounds and its default; the optimiser's in optimisation.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from charlm.settings.conflicts import conflicts
from charlm.settings.optimisation import OptimizerSettings
from charlm.settings.values import (
    DEVICES,
    AtLeastTwo,
    Epochs,
    LossWeights,
    Period,
    PositiveFloat,
    PositiveInt,
    Section,
    SplitSetting,
    TextList,
    UnitInterval,
    also,
)

Direction = Literal["forward", "backward", "bidirectional", "leaky"]
Cell = Literal["rnn", "gru", "lstm"]
Activation = Literal["tanh", "relu", "sigmoid"]
Implementation = Literal["auto", "native", "torch", "reference"]
UnknownPolicy = Literal["error", "skip", "replace"]

DEFAULT_CORPUS = "stories"
DEFAULT_EPOCHS = 20
# Generous beyond any sense, and small enough that the sizes of a network can be told without its memory.
MAX_UNITS = 65_536
MAX_WINDOW = 1_000_000


class Clean(Section):
    """How a text is cleaned; `letters` alone may be written `clean: letters`, nothing at all `clean: none`."""

    model_config = also({"enum": ["letters", "none"]})

    newline: Literal["keep", "lf"] = Field(default="keep", description="lf turns CRLF and CR into LF")
    unicode: Literal["none", "nfc"] = Field(default="none", description="Unicode normalisation")
    lowercase: bool = Field(default=False, description="lower-case every character")
    letters: bool = Field(
        default=False, description="a to z and space only: each line stripped, lines joined with nothing"
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_name(cls, value: Any) -> Any:
        if value == "letters":
            return {"letters": True}
        if value == "none":
            return {}
        if isinstance(value, Clean | dict):
            return value  # pyright: ignore[reportUnknownVariableType]
        raise PydanticCustomError("clean", "must be letters, none, or keys out of newline, unicode, lowercase, letters")


def _filled(value: Any, keys: tuple[str, ...], default: dict[str, Any]) -> Any:
    """Add a default to a mapping in which none of some keys is set; anything else is left to the type check."""
    if not isinstance(value, dict):
        return value
    values = cast("dict[str, Any]", value)
    return values | default if all(values.get(key) is None for key in keys) else values


class CorpusSettings(Section):
    """Which text, how it is read and cleaned, and how it is split."""

    name: str | None = Field(
        default=None,
        description="a shipped or known corpus, see `charlm corpus list`; null is stories if there is no path",
    )
    path: TextList | None = Field(
        default=None,
        description="text files in this order; a folder means its .txt files, sorted; - is standard input",
    )
    encoding: str = Field(default="utf-8", description="strict; a byte order mark is removed")
    clean: Clean = Field(
        default=Clean(),
        description="cleaning, stored with the model and applied to prefixes and evaluated texts too",
    )
    max_chars: PositiveInt | None = Field(default=None, description="only the first characters, counted after cleaning")
    split: SplitSetting = Field(
        default="default",
        description="train, validation and test in this order: default is 90/5/5, nanogpt 90/10, torch-rnn "
        "80/10/10, none trains on all, standard is a known corpus's own protocol",
    )
    unknown: UnknownPolicy = Field(
        default="error", description="what becomes of unknown characters in prefixes and evaluated texts"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_default_corpus(cls, value: Any) -> Any:
        return _filled(value, ("name", "path"), {"name": DEFAULT_CORPUS})


class VocabularySettings(Section):
    """Which characters become symbols."""

    min_count: PositiveInt = Field(default=1, description="characters seen less often become the unknown symbol")
    max_size: AtLeastTwo | None = Field(
        default=None,
        description="at most so many symbols, the unknown symbol included; the most frequent stay",
    )


class SamplingSettings(Section):
    """How the text is cut into windows."""

    method: Literal["consecutive", "random"] = Field(
        default="consecutive", description="consecutive carries the recurrent state, random starts it at zero"
    )
    batch_size: Annotated[int, Field(ge=1, le=MAX_WINDOW)] = Field(default=32, description="windows side by side")
    seq_len: Annotated[int, Field(ge=1, le=MAX_WINDOW)] = Field(
        default=64, description="characters in a window, the length of truncated BPTT"
    )


class ModelSettings(Section):
    """The network."""

    direction: Direction = Field(
        default="forward",
        description="forward; backward reads the text from its end; bidirectional has a stack for each and predicts a "
        "character from both sides of it; leaky is torch.nn's own joined layers, which read their own target",
    )
    lookahead: Annotated[int, Field(ge=0, le=MAX_WINDOW)] = Field(
        default=0, description="bidirectional: characters beyond a window that the backward stack reads first, unscored"
    )
    loss_weights: LossWeights = Field(default=LossWeights(), description="bidirectional: what its three losses count")

    cell: Cell = Field(default="lstm", description="the recurrent cell")
    hidden_size: Annotated[int, Field(ge=1, le=MAX_UNITS)] = Field(default=256, description="units of each layer")
    num_layers: Annotated[int, Field(ge=1, le=256)] = Field(default=1, description="layers on top of each other")
    dropout: UnitInterval = Field(default=0.0, description="probability of dropping a unit between layers")
    input_dropout: UnitInterval = Field(default=0.0, description="probability of dropping a unit of the inputs")
    output_dropout: UnitInterval = Field(
        default=0.0, description="probability of dropping a unit before the output layer"
    )
    locked_dropout: bool = Field(
        default=False,
        description="one mask for a row's whole window, in place of one for each character (variational dropout, Gal "
        "and Ghahramani 2016)",
    )
    recurrent_dropout: UnitInterval = Field(
        default=0.0, description="probability of dropping a recurrent weight (DropConnect, Merity et al. 2017)"
    )
    zoneout: UnitInterval = Field(
        default=0.0, description="probability that a hidden unit keeps its value for a step (Krueger et al. 2016)"
    )
    zoneout_cells: UnitInterval | None = Field(
        default=None, description="lstm: that a unit of the cell state does; null is 0"
    )
    layer_norm: bool = Field(default=False, description="layer normalisation inside the cells (Ba et al. 2016)")
    residual: bool = Field(
        default=False, description="from the second layer on, add a layer's inputs to its outputs (He et al. 2015)"
    )
    embedding_size: Annotated[int, Field(ge=1, le=MAX_UNITS)] | None = Field(
        default=None, description="units of a learned embedding; null feeds one-hot vectors"
    )
    tied_embeddings: bool = Field(
        default=False,
        description="the output layer's weights are the embedding, whose size is hidden_size (Press and Wolf 2016)",
    )
    learned_state: bool = Field(
        default=False, description="learn the state before any character, which is zero otherwise"
    )
    activation: Activation | None = Field(default=None, description="of the rnn cell; null is tanh")
    reset_after: bool | None = Field(
        default=None,
        description="gru: reset gate after the matrix product (torch, cuDNN; null is true) or before (Cho 2014)",
    )
    init: Literal["torch", "normal", "xavier", "he", "orthogonal", "identity"] = Field(
        default="torch",
        description="torch's default; normal(0, 0.01) with zero biases; Xavier; He; orthogonal or identity "
        "recurrent matrices (identity for relu rnn)",
    )
    forget_bias: Annotated[float, Field(ge=-1000.0, le=1000.0)] | None = Field(
        default=None, description="lstm: the forget gate's bias at the start"
    )
    implementation: Implementation = Field(
        default="auto",
        description="a choice of speed, not of model; auto is native on a CPU that has kernels, else torch",
    )


class TrainSettings(Section):
    """How long, from which seed, on what; the first budget reached ends the run."""

    epochs: Epochs | None = Field(
        default=None,
        description=f"passes over the training part; null is {DEFAULT_EPOCHS} if neither max_steps nor minutes is set",
    )
    max_steps: PositiveInt | None = Field(default=None, description="optimiser steps")
    minutes: PositiveFloat | None = Field(default=None, description="minutes of training")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(default=0, description="of weights, order and dropout")
    eval_every: Period = Field(default=Period(epochs=1), description="evaluate, report and save a checkpoint")
    early_stopping: PositiveInt | None = Field(
        default=None, description="stop after so many evaluations without improvement"
    )
    on_divergence: Literal["stop", "skip", "rollback"] = Field(
        default="stop",
        description="a loss or gradient that is not a number: stop; skip the step; or go back to the last checkpoint "
        "with half the learning rate",
    )
    max_rollbacks: PositiveInt = Field(default=3, description="rollback: how often at most")
    device: Annotated[str, Field(pattern=DEVICES)] = Field(
        default="auto", description="auto, cpu, cuda, cuda:N, or mps (untested)"
    )
    threads: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="CPU threads; null measures how many are fastest when the run is created"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_default_epochs(cls, value: Any) -> Any:
        return _filled(value, ("epochs", "max_steps", "minutes"), {"epochs": DEFAULT_EPOCHS})


class CheckpointSettings(Section):
    """When checkpoints are saved beside those of evaluations, and which are kept beside the best."""

    minutes: PositiveFloat = Field(default=10.0, description="save between evaluations too, so often")
    keep_last: AtLeastTwo = Field(default=2, description="the newest so many are kept")
    keep_every: Period | None = Field(
        default=None, description="those whose step is a multiple of this are kept as well; null keeps none of them"
    )


class EvalSettings(Section):
    """Evaluations during training; the end always reads everything."""

    max_chars: AtLeastTwo = Field(default=20_000, description="characters read at most")
    baselines: bool = Field(
        default=True, description="measure n-grams and compressors beside the model at the end of training"
    )


class SampleSettings(Section):
    """The sample table printed during training."""

    prefixes: TextList | None = Field(
        default=None, description="one continuation each; null takes two beginnings of lines from the corpus"
    )
    length: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=80, description="characters written after the prefix"
    )
    temperature: Annotated[float, Field(ge=0.0, le=1000.0)] = Field(
        default=0.8, description="0 takes the likeliest character"
    )
    every: Period = Field(default=Period(epochs=5), description="how often samples are written")


class Settings(Section):
    """The whole configuration of a run."""

    corpus: CorpusSettings = Field(default=CorpusSettings(), description="the text")
    vocabulary: VocabularySettings = Field(default=VocabularySettings(), description="the symbols")
    sampling: SamplingSettings = Field(default=SamplingSettings(), description="the windows")
    model: ModelSettings = Field(default=ModelSettings(), description="the network")
    optimizer: OptimizerSettings = Field(default=OptimizerSettings(), description="the optimiser")
    train: TrainSettings = Field(default=TrainSettings(), description="budget, seed and device")
    checkpoint: CheckpointSettings = Field(default=CheckpointSettings(), description="checkpoints")
    eval: EvalSettings = Field(default=EvalSettings(), description="evaluations during training")
    sample: SampleSettings = Field(default=SampleSettings(), description="samples during training")

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if problems := list(conflicts(self)):
            text = "; ".join(f"{key} {reason}" for key, reason in problems)
            raise PydanticCustomError("conflict", "{text}", {"text": text, "problems": problems})
        return self
