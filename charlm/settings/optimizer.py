"""The settings of the optimiser: how the parameters follow the gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from charlm.settings.values import (
    Conflict,
    Natural,
    NaturalFloat,
    Period,
    PositiveFloat,
    PositiveInt,
    Section,
    UnitInterval,
)

# The schedules that each setting belongs to.
OF_SCHEDULES = {
    "every": ("step", "exponential"),
    "factor": ("step", "exponential", "plateau"),
    "patience": ("plateau",),
    "total_steps": ("cosine",),
}
# Which averages and which optimisers a setting belongs to.
OF_AVERAGES = {"decay": "ema", "patience": "triggered"}
OF_METHODS = {"momentum": ("sgd", "rmsprop")}


class ScheduleSettings(Section):
    """Choose how the learning rate changes over time; the length of a schedule is fixed when the run is created."""

    method: Literal["constant", "step", "exponential", "cosine", "plateau"] = Field(
        default="constant",
        description="Chooses how the learning rate changes: constant keeps it, step and exponential multiply it by "
        "factor every `every`, cosine lowers it until the last step, and plateau multiplies it by factor "
        "when validation stops improving; try cosine for a run of known length",
    )
    warmup_steps: Natural = Field(
        default=0,
        description="Sets how many steps the learning rate takes to rise linearly from zero; raise it if the first "
        "steps diverge",
    )
    total_steps: PositiveInt | None = Field(
        default=None,
        description="Sets the step at which cosine ends; null takes it from train.epochs, max_steps or fit_minutes, so "
        "set it only if train.minutes is the budget",
    )
    every: Period | None = Field(
        default=None,
        description="Sets the period, in steps or epochs, after which step and exponential have multiplied the rate "
        "by factor once; null means 1 epoch",
    )
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        default=None,
        description="Sets what step, exponential and plateau multiply the rate by; null means 0.5, and a larger one "
        "lowers the rate more gently",
    )
    patience: PositiveInt | None = Field(
        default=None,
        description="Sets how many evaluations without improvement plateau waits for; null means 3, so raise it if "
        "validation is noisy",
    )
    min_learning_rate: NaturalFloat = Field(
        default=0.0,
        description="Sets the rate below which the schedule does not go; raise it if the last epochs no longer "
        "improve anything",
    )


class AverageSettings(Section):
    """Average the weights over training; the average is then evaluated, sampled and saved as the model."""

    method: Literal["none", "ema", "triggered"] = Field(
        default="none",
        description="Chooses how the weights are averaged: ema is an exponential moving average, and triggered starts "
        "a plain average once validation has stopped getting better (NT-ASGD, Merity et al. 2017; needs "
        "sgd); try ema for a smoother and often better result",
    )
    decay: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        default=None,
        description="Sets the share of an ema that each step keeps, less in the first steps; null means 0.999, so "
        "lower it for a short run",
    )
    patience: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="Sets how many of the last evaluations triggered does not compare with; null means 5, so raise it "
        "if validation is noisy",
    )


class OptimizerSettings(Section):
    """Choose how the parameters follow the gradient."""

    method: Literal["adam", "adamw", "sgd", "rmsprop"] = Field(
        default="adam",
        description="Chooses the optimiser; adam needs the least tuning, and sgd usually needs a much larger learning "
        "rate",
    )
    learning_rate: PositiveFloat = Field(
        default=5e-3,
        description="Sets the learning rate at its peak; lower it if training diverges, raise it if the loss falls "
        "slowly",
    )
    momentum: UnitInterval | None = Field(
        default=None, description="Sets the momentum of sgd and rmsprop; null means 0, and 0.9 is usual"
    )
    weight_decay: NaturalFloat = Field(
        default=0.0,
        description="Sets how strongly weights are pulled towards zero (as an L2 penalty, or decoupled for adamw); "
        "raise it if the model overfits",
    )
    clip_norm: PositiveFloat | None = Field(
        default=1.0,
        description="Sets the largest global norm that the gradient may have before it is scaled down; lower it if "
        "training is unstable, and null turns it off",
    )
    clip_value: PositiveFloat | None = Field(
        default=None,
        description="Sets the largest absolute value that each entry of the gradient may have; null turns it off, so "
        "set it only to match other work",
    )
    accumulation: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=1,
        description="Averages the gradients of this many windows for one step; raise it to train with a larger batch "
        "than memory holds",
    )
    schedule: ScheduleSettings = Field(
        default=ScheduleSettings(), description="How the learning rate changes over time"
    )
    label_smoothing: UnitInterval = Field(
        default=0.0,
        description="Spreads this share of each target over all symbols in training, but never in reported results "
        "(Szegedy et al. 2015); raise it if the model is too sure of itself",
    )
    average: AverageSettings = Field(
        default=AverageSettings(), description="The average of the weights that becomes the model"
    )


def optimizer_conflicts(optimizer: OptimizerSettings) -> Iterator[Conflict]:
    """Yield the conflicts between settings of the optimiser."""
    if optimizer.momentum is not None and optimizer.method not in OF_METHODS["momentum"]:
        yield "optimizer.momentum", f"belongs to sgd and rmsprop, and optimizer.method is {optimizer.method}"
    schedule, average = optimizer.schedule, optimizer.average
    for name, methods in OF_SCHEDULES.items():
        if getattr(schedule, name) is not None and schedule.method not in methods:
            yield (
                f"optimizer.schedule.{name}",
                f"belongs to {' and '.join(methods)}, and the method is {schedule.method}",
            )
    for name, method in OF_AVERAGES.items():
        if getattr(average, name) is not None and average.method != method:
            yield (
                f"optimizer.average.{name}",
                f"belongs to {method}, and optimizer.average.method is {average.method}",
            )
    if average.method == "triggered" and optimizer.method != "sgd":
        yield "optimizer.average.method", f"triggered needs sgd, and optimizer.method is {optimizer.method}"
