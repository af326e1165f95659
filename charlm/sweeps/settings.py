"""The keys of a sweep file, with their bounds and defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue
from pydantic_core import PydanticCustomError

from charlm.settings.values import RUN_NAME, RUN_NAME_RULE, PositiveFloat, PositiveInt, Section

Method = Literal["grid", "random", "tpe"]
Goal = Literal["minimize", "maximize"]
MAX_SEEDS = 1_000
DEFAULT_METRIC = "val_bpc"

# The results in a run's closing record by which trials can be compared, and whether lower or higher is better.
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
    """Successive halving (Jamieson and Talwalkar 2016): all trials train to the first rung, the best to the next."""

    method: Literal["halving"] = Field(default="halving", description="synchronous: a rung waits for all its trials")
    rungs: Annotated[tuple[PositiveInt, ...], BeforeValidator(_listed)] = Field(
        description="numbers of steps, which replace train.epochs, max_steps and minutes; the last is the whole budget"
    )
    keep: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        default=1 / 3, description="the share of a rung's points that is promoted; at least one is"
    )


class Objective(Section):
    """The metric by which trials are compared."""

    metric: str = Field(default=DEFAULT_METRIC, description="a result in the run's closing record")
    direction: Goal | None = Field(default=None, description="null uses the direction that is better for the metric")


class Budget(Section):
    """When the sweep ends."""

    num_trials: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        default=None, description="number of points that random and tpe draw; each is trained with every seed"
    )
    minutes: PositiveFloat | None = Field(
        default=None, description="time until running trials are saved and the sweep ends; starting it again resumes it"
    )


class SweepSettings(Section):
    """A sweep file."""

    base: str | None = Field(
        default=None, description="the configuration that trials share: a path relative to this file, or a bundled name"
    )
    name: Annotated[str, BeforeValidator(_named)] | None = Field(
        default=None, description="the name of the sweep's folder; null uses the file's name"
    )
    method: Method = Field(default="grid", description="how points of the space are chosen; tpe needs Optuna")
    seeds: Annotated[int, Field(ge=1, le=MAX_SEEDS)] = Field(
        default=1, description="number of random seeds for each point, counted up from the base's train.seed"
    )
    space: dict[str, JsonValue] = Field(default={}, description="what varies")
    objective: Objective = Field(default=Objective(), description="the metric by which trials are compared")
    stop_early: StopEarly | None = Field(default=None, description="end early the trials that fall behind")
    budget: Budget = Field(default=Budget(), description="when the sweep ends")
