"""What a sweep file holds: each key, its bounds and its default."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue
from pydantic_core import PydanticCustomError

from charlm.settings.values import RUN_NAME, RUN_NAME_RULE, PositiveFloat, PositiveInt, Section

Method = Literal["grid", "random", "tpe"]
Goal = Literal["minimize", "maximize"]
MAX_SEEDS = 1_000
DEFAULT_METRIC = "val_bpc"

# What a run's closing record holds that trials may be compared by, and what of it is better.
METRICS: dict[str, Goal] = {
    "val_bpc": "minimize",
    "val_perplexity": "minimize",
    "val_nats_per_char": "minimize",
    "val_bits_per_byte": "minimize",
    "val_backward_bpc": "minimize",
    "val_cloze_bpc": "minimize",
    "train_bpc": "minimize",
    "train_perplexity": "minimize",
    "chars_per_second": "maximize",
}


def _named(value: Any) -> Any:
    if isinstance(value, str) and not RUN_NAME.fullmatch(value):
        raise PydanticCustomError("name", "must be {rule}", {"rule": RUN_NAME_RULE})
    return value


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


class StopEarly(Section):
    """Successive halving (Jamieson and Talwalkar 2016): all train to the first rung, the best of them to the next."""

    method: Literal["halving"] = Field(default="halving", description="synchronous: a rung waits for all its trials")
    rungs: Annotated[tuple[PositiveInt, ...], BeforeValidator(_listed)] = Field(
        description="steps, in place of train.epochs, max_steps and minutes; the last is the whole budget"
    )
    keep: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        default=1 / 3, description="the share of a rung's points that goes on, at least one"
    )


class Objective(Section):
    """By what trials are compared."""

    metric: str = Field(default=DEFAULT_METRIC, description="a figure of the run's closing record")
    direction: Goal | None = Field(default=None, description="null is what is better for the metric")


class Budget(Section):
    """When the sweep has done enough."""

    num_trials: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        default=None, description="random and tpe: points drawn; each is trained from every seed"
    )
    minutes: PositiveFloat | None = Field(
        default=None, description="then running trials are saved and the sweep ends; started again, it goes on"
    )


class SweepSettings(Section):
    """A sweep file."""

    base: str | None = Field(
        default=None, description="the configuration that trials share: a path from this file, or a shipped name"
    )
    name: Annotated[str, BeforeValidator(_named)] | None = Field(
        default=None, description="of the sweep's folder; null is the file's own"
    )
    method: Method = Field(default="grid", description="how points of the space are chosen; tpe by Optuna")
    seeds: Annotated[int, Field(ge=1, le=MAX_SEEDS)] = Field(
        default=1, description="each point is trained from so many seeds, from the base's train.seed up"
    )
    space: dict[str, JsonValue] = Field(default={}, description="what varies")
    objective: Objective = Field(default=Objective(), description="by what trials are compared")
    stop_early: StopEarly | None = Field(default=None, description="end trials early that fall behind")
    budget: Budget = Field(default=Budget(), description="when the sweep has done enough")
