"""The settings of the optimiser: how the parameters follow the gradient."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from charlm.settings.values import (
    Natural,
    NaturalFloat,
    Period,
    PositiveFloat,
    PositiveInt,
    Section,
    UnitInterval,
)


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
