"""The settings of training: how long, from which seed, on what; what is saved, evaluated and sampled on the way."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, ModelWrapValidatorHandler, model_validator

from charlm.settings.values import (
    DEVICES,
    AtLeastTwo,
    Epochs,
    Period,
    PositiveFloat,
    PositiveInt,
    Section,
    TextList,
    with_sole_default,
)

DEFAULT_EPOCHS = 20


class TrainSettings(Section):
    """How long, from which seed, on what; the first budget reached ends the run."""

    epochs: Epochs | None = Field(
        default=DEFAULT_EPOCHS,
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

    @model_validator(mode="wrap")
    @classmethod
    def _default_epochs(cls, value: JsonValue, handler: ModelWrapValidatorHandler[Self]) -> Self:
        return with_sole_default(value, handler, "epochs", ("max_steps", "minutes"))


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
