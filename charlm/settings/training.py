"""The settings of training: its length, random seed and device, and what it saves, evaluates and samples."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, JsonValue, ModelWrapValidatorHandler, model_validator

from charlm.settings.values import (
    DEVICES,
    AtLeastTwo,
    Epochs,
    Natural,
    Period,
    PositiveFloat,
    PositiveInt,
    Section,
    TextList,
    with_sole_default,
)

# What products are computed in.
ChosenPrecision = Literal["float32", "bfloat16"]
# One list, so that a message names every choice.
Precision = Literal["float32", "bfloat16", "auto"]

DEFAULT_EPOCHS = 20
MINUTES_OF_A_YEAR = 525_600.0


def _pairs(value: JsonValue | tuple[object, ...]) -> object:
    """Accept YAML's lists as our tuples."""
    if not isinstance(value, list):
        return value
    return tuple(tuple(each) if isinstance(each, list) else each for each in value)


# A step, and the step at which a run was decided there to end.
RefitSetting = tuple[Natural, PositiveInt]


class TrainSettings(Section):
    """Say how long to train, from which random seed and on which device; the first budget reached ends the run."""

    recipe: Literal["auto"] | None = Field(
        default=None,
        description="Decides what becomes of settings that aren't set; auto chooses them by the text, the time and the "
        "speed of this machine, and null takes their defaults",
    )
    epochs: Epochs | None = Field(
        default=DEFAULT_EPOCHS,
        description=f"Sets the budget in passes over the training split; null means {DEFAULT_EPOCHS} unless max_steps, "
        "minutes or fit_minutes is set, and more help while validation still gets better",
    )
    max_steps: PositiveInt | None = Field(
        default=None, description="Sets the budget in optimiser steps; set it to compare runs of equal length"
    )
    minutes: PositiveFloat | None = Field(
        default=None,
        description="Ends the run after so many minutes wherever its learning rate is then, so such a run cannot be "
        "repeated exactly; fit_minutes is nearly always better",
    )
    fit_minutes: Annotated[float, Field(gt=0.0, le=MINUTES_OF_A_YEAR)] | None = Field(
        default=None,
        description="Sets the minutes that the whole run takes: the steps that fit, and the schedule with them, are "
        "fixed before the first one by the speed of this machine; max_steps and epochs replace it",
    )
    refits: Annotated[tuple[RefitSetting, ...], BeforeValidator(_pairs)] = Field(
        default=(),
        description="Lists where the load of the machine changed the steps that fit, as pairs [step, new max_steps]; a "
        "run with fit_minutes writes it, so set it only to repeat such a run",
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        default=0,
        description="Sets the random seed of the weights, the order of windows and dropout; change it to see how far "
        "results vary by chance",
    )
    eval_every: Period = Field(
        default=Period(epochs=1),
        description="Sets how often, in steps or epochs, the model is evaluated, reported and saved as a checkpoint; "
        "lower it if epochs take long",
    )
    early_stopping: PositiveInt | None = Field(
        default=None,
        description="Stops training after this many evaluations without improvement; null never does, so set it to "
        "save time on a model that overfits",
    )
    on_divergence: Literal["stop", "skip", "rollback"] = Field(
        default="stop",
        description="Decides what follows a loss or gradient that is not a number: stop ends the run, skip leaves the "
        "step out, and rollback returns to the last checkpoint with half the learning rate; choose "
        "rollback for a run that nobody watches",
    )
    max_rollbacks: PositiveInt = Field(
        default=3,
        description="Sets how often on_divergence rollback may go back before the run stops; raise it for a very long "
        "run",
    )
    device: Annotated[str, Field(pattern=DEVICES)] = Field(
        default="auto",
        description="Chooses where to compute: auto takes cuda where there is a GPU, else cpu, and cuda:N takes one "
        "of several GPUs (mps is untested)",
    )
    precision: Precision = Field(
        default="float32",
        description="Chooses what matrix products are computed in during training: bfloat16 rounds what is multiplied, "
        "for speed, on a CPU that has avx512_bf16; sums, weights and every evaluation stay in float32, and auto is "
        "float32",
    )
    threads: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None,
        description="Sets how many CPU threads compute; null measures how many are fastest when the run is created, "
        "so set it if other programs need the cores",
    )

    @model_validator(mode="wrap")
    @classmethod
    def _default_epochs(cls, value: JsonValue, handler: ModelWrapValidatorHandler[Self]) -> Self:
        return with_sole_default(value, handler, "epochs", ("max_steps", "minutes", "fit_minutes"))


class CheckpointSettings(Section):
    """Say when checkpoints are saved between evaluations, and which are kept besides the best."""

    minutes: PositiveFloat = Field(
        default=10.0,
        description="Sets how many minutes may pass before a checkpoint is saved between evaluations too; lower it if "
        "a crash must cost little",
    )
    keep_last: AtLeastTwo = Field(
        default=2,
        description="Sets how many of the newest checkpoints are kept, besides the best; raise it to look back at "
        "earlier ones",
    )
    keep_every: Period | None = Field(
        default=None,
        description="Also keeps the checkpoints whose step is a multiple of this period, in steps or epochs; null "
        "keeps none of them, so set it to study how the model develops",
    )


class EvalSettings(Section):
    """Set how much evaluations during training read; the closing one always reads everything."""

    max_chars: AtLeastTwo = Field(
        default=20_000,
        description="Sets how many characters of the validation split an evaluation reads at most, while the closing "
        "one reads them all; lower it if evaluations take long, raise it if their results jump about",
    )
    baselines: bool = Field(
        default=True,
        description="Measures n-grams and compressors for comparison at the end of training; turn it off to save that "
        "time on a large text",
    )


class SampleSettings(Section):
    """Choose the samples that training prints."""

    prefixes: TextList | None = Field(
        default=None,
        description="Lists the prefixes that samples continue, one each; null takes two line beginnings from the "
        "corpus",
    )
    length: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=80,
        description="Sets how many characters are written after each prefix; raise it to see whether the model keeps "
        "to a subject",
    )
    temperature: Annotated[float, Field(ge=0.0, le=1000.0)] = Field(
        default=0.8,
        description="Sets how boldly characters are chosen: lower values are safer and repeat more, and 0 always "
        "takes the likeliest character; raise it if samples repeat themselves",
    )
    every: Period = Field(
        default=Period(epochs=5),
        description="Sets how often, in steps or epochs, samples are written; lower it to watch the model learn",
    )
