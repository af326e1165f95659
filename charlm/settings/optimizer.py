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

# Which schedules a setting belongs to.
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
    """The learning rate over time; its length is fixed when the run is created."""

    method: Literal["constant", "step", "exponential", "cosine", "plateau"] = Field(
        default="constant",
        description="step and exponential multiply by factor every `every`; plateau on validation",
    )
    warmup_steps: Natural = Field(default=0, description="steps of linear rise from zero")
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
    min_learning_rate: NaturalFloat = Field(default=0.0, description="the rate never falls below")


class AverageSettings(Section):
    """An average of the weights over training, which is what is then evaluated, sampled and saved as the model."""

    method: Literal["none", "ema", "triggered"] = Field(
        default="none",
        description="ema is an exponential moving average; triggered starts a plain one once validation has stopped "
        "getting better (NT-ASGD, Merity et al. 2017; sgd)",
    )
    decay: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        default=None, description="ema: what is kept of it in each step; null is 0.999, and less in the first steps"
    )
    patience: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="triggered: the last so many evaluations are not compared with; null is 5"
    )


class OptimizerSettings(Section):
    """How the parameters follow the gradient."""

    method: Literal["adam", "adamw", "sgd", "rmsprop"] = Field(default="adam", description="the optimiser")
    learning_rate: PositiveFloat = Field(default=5e-3, description="at its peak")
    momentum: UnitInterval | None = Field(default=None, description="sgd, rmsprop; null is 0")
    weight_decay: NaturalFloat = Field(default=0.0, description="L2, or decoupled for adamw")
    clip_norm: PositiveFloat | None = Field(
        default=1.0, description="largest global norm of the gradient; null is none"
    )
    clip_value: PositiveFloat | None = Field(default=None, description="largest absolute value of each gradient entry")
    accumulation: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=1, description="windows whose gradients are averaged for one step"
    )
    schedule: ScheduleSettings = Field(default=ScheduleSettings(), description="the learning rate over time")
    label_smoothing: UnitInterval = Field(
        default=0.0,
        description="share of each target that is spread over all symbols in training (Szegedy et al. 2015); reported "
        "figures are never smoothed",
    )
    average: AverageSettings = Field(default=AverageSettings(), description="an average of the weights")


def optimizer_conflicts(optimizer: OptimizerSettings) -> Iterator[Conflict]:
    """Yield what of the optimiser's settings does not go together."""
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
