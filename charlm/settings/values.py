"""The types of values in a configuration, including those that can be written in more than one way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ModelWrapValidatorHandler,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

SplitName = Literal["default", "nanogpt", "torch-rnn", "none", "standard"]

DEVICE_NAMES = ("auto", "cpu", "mps", "cuda")
DEVICES = r"^(auto|cpu|mps|cuda(:(0|[1-9][0-9]?))?)$"

# The names that a run, or a sweep of runs, can have.
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
RUN_NAME_RULE = "at most 100 letters, digits, '.', '_' and '-', the first a letter or a digit"

# More than any run counts; with these bounds no product of two settings exceeds 2^63.
MAX_COUNT = 1_000_000_000_000
MAX_EPOCHS = 1_000_000
MAX_WINDOW = 1_000_000
MAX_SEED = 2**63 - 1
# The most characters of one text.
MAX_WRITTEN = 1_000_000_000
# Larger than any rate or norm, yet within float32.
MAX_NUMBER = 1e30

# A dotted key, and the reason why its value conflicts with others.
Conflict = tuple[str, str]

UnitInterval = Annotated[float, Field(ge=0.0, lt=1.0)]
Natural = Annotated[int, Field(ge=0, le=MAX_COUNT)]
PositiveInt = Annotated[int, Field(ge=1, le=MAX_COUNT)]
AtLeastTwo = Annotated[int, Field(ge=2, le=MAX_COUNT)]
Epochs = Annotated[int, Field(ge=1, le=MAX_EPOCHS)]
NaturalFloat = Annotated[float, Field(ge=0.0, le=MAX_NUMBER)]
PositiveFloat = Annotated[float, Field(gt=0.0, le=MAX_NUMBER)]


class Section(BaseModel):
    """A section of the configuration: frozen, strictly typed, and without unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    def replaced(self, values: Mapping[str, object]) -> Self:
        """Return a copy in which some settings, given by their dotted keys below this section, have other values.

        The values come from the program itself and are not checked.
        """
        mine = {key: value for key, value in values.items() if "." not in key}
        below: dict[str, dict[str, object]] = {}
        for key in values.keys() - mine.keys():
            name, _, rest = key.partition(".")
            below.setdefault(name, {})[rest] = values[key]
        sections = {name: getattr(self, name).replaced(inner) for name, inner in below.items()}
        return self.model_copy(update={**mine, **sections})


AnySection = TypeVar("AnySection", bound=Section)


def also(*shapes: JsonDict) -> ConfigDict:
    """Add the short ways to write a section to its JSON schema."""

    def widen(schema: JsonDict) -> None:
        section: JsonValue = dict(schema)
        schema.clear()
        schema["anyOf"] = [*shapes, section]

    return ConfigDict(json_schema_extra=widen)


class Period(Section):
    """A period in steps (written `500`) or in epochs (written `{epochs: 40}`)."""

    model_config = also({"type": "integer", "minimum": 1, "maximum": MAX_COUNT})

    steps: PositiveInt | None = Field(default=None, description="Gives the period in optimiser steps")
    epochs: Epochs | None = Field(default=None, description="Gives the period in epochs")

    @model_validator(mode="before")
    @classmethod
    def _accept_bare_steps(cls, value: JsonValue | Period) -> JsonValue | Period:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"steps": value}
        if isinstance(value, Period | dict):
            return value
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


def listed(value: JsonValue | tuple[str, ...]) -> JsonValue | tuple[JsonValue, ...]:
    """Accept a single text as a list of one, and a YAML list as our tuple."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


TextList = Annotated[
    tuple[str, ...],
    BeforeValidator(listed),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


def _split_shape(value: JsonValue | tuple[float, ...]) -> str | tuple[float, ...]:
    """Accept a protocol's name, percentages such as '80/10/10', or a list of fractions or of sizes."""
    if isinstance(value, str):
        parts = value.split("/")
        if value in get_args(SplitName):
            return value
        if len(parts) in (2, 3) and all(re.fullmatch(" *[0-9]{1,3} *", part) for part in parts):
            return tuple(float(Fraction(int(part), 100)) for part in parts)
    if isinstance(value, list | tuple):
        numbers = tuple(each for each in value if isinstance(each, int | float) and not isinstance(each, bool))
        if len(numbers) == len(value) and all(abs(number) <= MAX_COUNT for number in numbers):
            return numbers
    raise PydanticCustomError(
        "split",
        "must be one of {names}, percentages such as 80/10/10, fractions such as [0.8, 0.1, 0.1] "
        "or sizes in characters such as [90000, 5000, 5000]",
        {"names": ", ".join(get_args(SplitName))},
    )


SplitSetting = Annotated[
    SplitName | tuple[float | int, ...],
    BeforeValidator(_split_shape),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(get_args(SplitName))},
                {"type": "string", "pattern": "^ *[0-9]{1,3} *(/ *[0-9]{1,3} *){1,2}$"},
                {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": MAX_COUNT}},
            ]
        }
    ),
]


def with_sole_default(
    value: JsonValue, handler: ModelWrapValidatorHandler[AnySection], key: str, others: tuple[str, ...]
) -> AnySection:
    """Validate a section in which one key has its default only if none of the others is set.

    `model_fields_set` then holds the keys that were written, not the one that took or lost its default.
    """
    if not isinstance(value, dict):
        return handler(value)
    if all(value.get(other) is None for other in others):
        return handler({name: each for name, each in value.items() if name != key or each is not None})
    section = handler({key: None} | value)
    if key not in value:
        section.model_fields_set.discard(key)
    return section
