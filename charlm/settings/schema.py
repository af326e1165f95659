"""The typed configuration: every setting, its unit, its bounds and its default, each in this one place."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic.config import JsonDict, JsonValue
from pydantic_core import PydanticCustomError

Direction = Literal["forward", "backward", "bidirectional", "leaky"]
Cell = Literal["rnn", "gru", "lstm"]
Activation = Literal["tanh", "relu", "sigmoid"]
Implementation = Literal["auto", "torch", "reference"]
SplitName = Literal["default", "nanogpt", "torch-rnn", "none", "standard"]
UnknownPolicy = Literal["error", "skip", "replace"]

DEFAULT_CORPUS = "stories"
DEFAULT_EPOCHS = 20

UnitInterval = Annotated[float, Field(ge=0.0, lt=1.0)]
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0.0)]


class Section(BaseModel):
    """A part of the configuration: frozen, strictly typed, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


def _also(*shapes: JsonDict) -> ConfigDict:
    """Tell the JSON schema of a section the short ways to write it."""

    def widen(schema: JsonDict) -> None:
        section: JsonValue = dict(schema)
        schema.clear()
        schema["anyOf"] = [*shapes, section]

    return ConfigDict(json_schema_extra=widen)


class Period(Section):
    """A period counted in steps (written `500`) or in epochs (written `{epochs: 40}`)."""

    model_config = _also({"type": "integer", "minimum": 1})

    steps: PositiveInt | None = Field(default=None, description="optimiser steps")
    epochs: PositiveInt | None = Field(default=None, description="epochs")

    @model_validator(mode="before")
    @classmethod
    def _accept_bare_steps(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"steps": value}
        if isinstance(value, Period | dict):
            return value  # pyright: ignore[reportUnknownVariableType]
        raise PydanticCustomError("period", "must be a number of steps such as 500, or {epochs: 40}")

    @model_validator(mode="after")
    def _exactly_one(self) -> Period:
        if (self.steps is None) == (self.epochs is None):
            raise PydanticCustomError("period", "must be a number of steps such as 500, or {epochs: 40}")
        return self

    @model_serializer
    def _serialise(self) -> int | dict[str, int]:
        return self.steps if self.steps is not None else {"epochs": self.epochs or 0}

    def in_steps(self, steps_per_epoch: int) -> int:
        """Return the period in steps."""
        return self.steps if self.steps is not None else (self.epochs or 0) * steps_per_epoch


def _listed(value: Any) -> Any:
    """Accept one text for a list of one, and YAML's list for our tuple."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


TextList = Annotated[
    tuple[str, ...],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class Clean(Section):
    """How a text is cleaned; `letters` alone may be written `clean: letters`, nothing at all `clean: none`."""

    model_config = _also({"enum": ["letters", "none"]})

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


def _split_shape(value: Any) -> Any:
    """Accept a protocol's name, '80/10/10' in percent, or a list of fractions or of sizes."""
    if isinstance(value, list):
        return tuple(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, str) and value not in get_args(SplitName):
        parts = value.split("/")
        if len(parts) not in (2, 3) or not all(part.strip().isdecimal() for part in parts):
            names = ", ".join(get_args(SplitName))
            raise PydanticCustomError(
                "split",
                "must be one of {names}, percentages such as 80/10/10, fractions such as [0.8, 0.1, 0.1] "
                "or sizes in characters such as [90000, 5000, 5000]",
                {"names": names},
            )
        return tuple(float(Fraction(int(part), 100)) for part in parts)
    return value


SplitSetting = Annotated[
    SplitName | tuple[float | int, ...],
    BeforeValidator(_split_shape),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(get_args(SplitName))},
                {"type": "string", "pattern": "^[0-9]+/[0-9]+(/[0-9]+)?$"},
                {"type": "array", "items": {"type": "number", "minimum": 0}},
            ]
        }
    ),
]


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
    max_size: Annotated[int, Field(ge=2)] | None = Field(
        default=None,
        description="at most so many symbols, the unknown symbol included; the most frequent stay",
    )


class SamplingSettings(Section):
    """How the text is cut into windows."""

    method: Literal["consecutive", "random"] = Field(
        default="consecutive", description="consecutive carries the recurrent state, random starts it at zero"
    )
    batch_size: PositiveInt = Field(default=32, description="windows side by side")
    seq_len: PositiveInt = Field(default=64, description="characters in a window, the length of truncated BPTT")


class LossWeights(Section):
    """What each of a bidirectional model's three losses counts in training."""

    forward: Annotated[float, Field(ge=0.0)] = Field(default=1.0, description="of the forward half alone")
    backward: Annotated[float, Field(ge=0.0)] = Field(default=1.0, description="of the backward half alone")
    both: Annotated[float, Field(ge=0.0)] = Field(default=1.0, description="of both halves together, the cloze loss")


class ModelSettings(Section):
    """The network."""

    direction: Direction = Field(
        default="forward",
        description="forward; backward reads the text from its end; bidirectional has a stack for each and predicts a "
        "character from both sides of it; leaky is torch.nn's own joined layers, which read their own target",
    )
    lookahead: Annotated[int, Field(ge=0)] = Field(
        default=0, description="bidirectional: characters beyond a window that the backward stack reads first, unscored"
    )
    loss_weights: LossWeights = Field(default=LossWeights(), description="bidirectional: what its three losses count")

    cell: Cell = Field(default="lstm", description="the recurrent cell")
    hidden_size: PositiveInt = Field(default=256, description="units of each layer")
    num_layers: PositiveInt = Field(default=1, description="layers on top of each other")
    dropout: UnitInterval = Field(default=0.0, description="probability of dropping a unit between layers")
    embedding_size: PositiveInt | None = Field(
        default=None, description="units of a learned embedding; null feeds one-hot vectors"
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
    forget_bias: float | None = Field(default=None, description="lstm: the forget gate's bias at the start")
    implementation: Implementation = Field(default="auto", description="a choice of speed, not of model")


class ScheduleSettings(Section):
    """The learning rate over time; its length is fixed when the run is created."""

    method: Literal["constant", "step", "exponential", "cosine", "plateau"] = Field(
        default="constant",
        description="step and exponential multiply by factor every `every`; plateau on validation",
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(default=0, description="steps of linear rise from zero")
    total_steps: PositiveInt | None = Field(
        default=None, description="cosine: steps until the end; null takes it from epochs or max_steps"
    )
    every: Period | None = Field(
        default=None, description="step, exponential: the period of one factor; null is 1 epoch"
    )
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        default=None, description="step, exponential, plateau: multiplier; null is 0.5"
    )
    patience: PositiveInt | None = Field(
        default=None, description="plateau: evaluations without improvement; null is 3"
    )
    min_learning_rate: Annotated[float, Field(ge=0.0)] = Field(default=0.0, description="the rate never falls below")


class OptimizerSettings(Section):
    """How the parameters follow the gradient."""

    method: Literal["adam", "adamw", "sgd", "rmsprop"] = Field(default="adam", description="the optimiser")
    learning_rate: PositiveFloat = Field(default=5e-3, description="at its peak")
    momentum: UnitInterval | None = Field(default=None, description="sgd, rmsprop; null is 0")
    weight_decay: Annotated[float, Field(ge=0.0)] = Field(default=0.0, description="L2, or decoupled for adamw")
    clip_norm: PositiveFloat | None = Field(
        default=1.0, description="largest global norm of the gradient; null is none"
    )
    clip_value: PositiveFloat | None = Field(default=None, description="largest absolute value of each gradient entry")
    accumulation: PositiveInt = Field(default=1, description="windows whose gradients are averaged for one step")
    schedule: ScheduleSettings = Field(default=ScheduleSettings(), description="the learning rate over time")


class TrainSettings(Section):
    """How long, from which seed, on what; the first budget reached ends the run."""

    epochs: PositiveInt | None = Field(
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
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = Field(
        default="auto", description="auto, cpu, cuda, cuda:N, or mps (untested)"
    )
    threads: PositiveInt | None = Field(default=None, description="CPU threads; null leaves torch's choice")

    @model_validator(mode="before")
    @classmethod
    def _fill_default_epochs(cls, value: Any) -> Any:
        return _filled(value, ("epochs", "max_steps", "minutes"), {"epochs": DEFAULT_EPOCHS})


class EvalSettings(Section):
    """Evaluations during training; the end always reads everything."""

    max_chars: Annotated[int, Field(ge=2)] = Field(default=20_000, description="characters read at most")


class SampleSettings(Section):
    """The sample table printed during training."""

    prefixes: TextList | None = Field(
        default=None, description="one continuation each; null takes two beginnings of lines from the corpus"
    )
    length: PositiveInt = Field(default=80, description="characters written after the prefix")
    temperature: Annotated[float, Field(ge=0.0)] = Field(default=0.8, description="0 takes the likeliest character")
    every: Period = Field(default=Period(epochs=5), description="how often samples are written")


class Settings(Section):
    """The whole configuration of a run."""

    corpus: CorpusSettings = Field(default=CorpusSettings(), description="the text")
    vocabulary: VocabularySettings = Field(default=VocabularySettings(), description="the symbols")
    sampling: SamplingSettings = Field(default=SamplingSettings(), description="the windows")
    model: ModelSettings = Field(default=ModelSettings(), description="the network")
    optimizer: OptimizerSettings = Field(default=OptimizerSettings(), description="the optimiser")
    train: TrainSettings = Field(default=TrainSettings(), description="budget, seed and device")
    eval: EvalSettings = Field(default=EvalSettings(), description="evaluations during training")
    sample: SampleSettings = Field(default=SampleSettings(), description="samples during training")

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if problems := list(conflicts(self)):
            text = "; ".join(f"{key} {reason}" for key, reason in problems)
            raise PydanticCustomError("conflict", "{text}", {"text": text, "problems": problems})
        return self


def conflicts(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, reason) for settings that are sound alone and not together."""
    corpus, model, optimizer, train = settings.corpus, settings.model, settings.optimizer, settings.train
    if corpus.name is not None and corpus.path is not None:
        yield "corpus.path", "and corpus.name exclude each other: keep one"
    if corpus.path == ():
        yield "corpus.path", "is an empty list: name a text file, or leave it out"
    if isinstance(corpus.split, tuple):
        yield from _split_conflicts(corpus.split)
    if corpus.split == "standard" and corpus.path is not None:
        yield "corpus.split", "standard needs corpus.name: only known corpora have a standard split"
    if model.activation is not None and model.cell != "rnn":
        yield "model.activation", f"belongs to the rnn cell, and model.cell is {model.cell}"
    if model.reset_after is not None and model.cell != "gru":
        yield "model.reset_after", f"belongs to the gru cell, and model.cell is {model.cell}"
    if model.forget_bias is not None and model.cell != "lstm":
        yield "model.forget_bias", f"belongs to the lstm cell, and model.cell is {model.cell}"
    if model.direction != "bidirectional":
        if model.lookahead > 0:
            yield "model.lookahead", f"belongs to bidirectional models, and model.direction is {model.direction}"
        if model.loss_weights != LossWeights():
            yield "model.loss_weights", f"belong to bidirectional models, and model.direction is {model.direction}"
    elif not any(weight > 0 for _, weight in model.loss_weights):
        yield "model.loss_weights", "are all 0: nothing would be learned"
    if model.init == "identity" and (model.cell, model.activation) != ("rnn", "relu"):
        yield "model.init", "identity is meant for model.cell rnn with model.activation relu"
    if model.dropout > 0 and model.num_layers == 1:
        yield "model.dropout", "acts between layers, and model.num_layers is 1: set one of them"
    if optimizer.momentum is not None and optimizer.method not in ("sgd", "rmsprop"):
        yield "optimizer.momentum", f"belongs to sgd and rmsprop, and optimizer.method is {optimizer.method}"
    yield from _schedule_conflicts(optimizer.schedule, train)
    if train.early_stopping is not None and corpus.split == "none":
        yield "train.early_stopping", "needs a validation part, and corpus.split is none"
    if optimizer.schedule.method == "plateau" and corpus.split == "none":
        yield "optimizer.schedule.method", "plateau needs a validation part, and corpus.split is none"


def _split_conflicts(parts: tuple[float | int, ...]) -> Iterator[tuple[str, str]]:
    sizes = all(isinstance(part, int) for part in parts)
    fractions = all(isinstance(part, float) for part in parts)
    if len(parts) not in (2, 3) or min(parts) < 0 or not (sizes or fractions) or parts[0] == 0:
        yield "corpus.split", f"needs two or three fractions, or two or three sizes, not {list(parts)}"
    elif fractions and (total := sum(Fraction(str(part)) for part in parts)) != 1:
        yield "corpus.split", f"fractions must sum to 1, these sum to {float(total)}"


def _schedule_conflicts(schedule: ScheduleSettings, train: TrainSettings) -> Iterator[tuple[str, str]]:
    key = "optimizer.schedule"
    owners = {
        "every": ("step", "exponential"),
        "factor": ("step", "exponential", "plateau"),
        "patience": ("plateau",),
        "total_steps": ("cosine",),
    }
    for name, methods in owners.items():
        if getattr(schedule, name) is not None and schedule.method not in methods:
            yield f"{key}.{name}", f"belongs to {' and '.join(methods)}, and the method is {schedule.method}"
    endless = train.minutes is not None and train.epochs is None and train.max_steps is None
    if schedule.method == "cosine" and schedule.total_steps is None and endless:
        yield f"{key}.total_steps", "must be given when train.minutes is the only budget"
