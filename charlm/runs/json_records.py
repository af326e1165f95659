"""Records and JSON: the one place that turns frozen dataclasses into JSON objects, and a stranger's objects into them.

The fields of a record are the keys of its object, in their order. One that has its default is left out of the object,
and one that is missing in an object has its default: so may what an older charlm did not write. Keys that a record does
not know are passed over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, TypeAlias, TypeVar, cast, get_args, get_type_hints

from pydantic import AfterValidator, Field, JsonValue, TypeAdapter, ValidationError, ValidatorFunctionWrapHandler
from pydantic import WrapValidator as Wrap

Json: TypeAlias = dict[str, JsonValue]
MAX_NUMBER = 1e18


class Record(Mapping[str, Any]):
    """A frozen dataclass that stands for a JSON object, and that scripts may read as that object.

    It equals the object too: its dataclass leaves the comparison to this class (`eq=False`).
    """

    def as_json(self) -> Json:
        """Return the JSON object: of a record that was read, the very one."""
        return vars(self).get("_source") or _object(self)

    def __getitem__(self, key: str) -> Any:
        return self.as_json()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_json())

    def __len__(self) -> int:
        return len(self.as_json())


@dataclass(frozen=True)
class Inline:
    """Marks a record whose keys stand among those of the outer one, each after a prefix; without it they are nulls."""

    prefix: str = ""


def _is_in_bounds(number: float) -> float:
    # A run that diverges writes infinities and NaN.
    if MAX_NUMBER < abs(number) < math.inf:
        raise ValueError("is too large")
    return number


def _is_one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("is not fit for a terminal")
    return text


def _or_none(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError:
        return None


T = TypeVar("T")
R = TypeVar("R", bound=Record)
Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0, lt=MAX_NUMBER)]
Number = Annotated[float, Field(strict=True), AfterValidator(_is_in_bounds)]
# At least 0, and finite.
Amount = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(strict=True)]
Line = Annotated[Text, AfterValidator(_is_one_line)]
Sha256 = Annotated[str, Field(strict=True, pattern="^[0-9a-f]{64}$")]
# What may be anything in a stranger's file; None where it is not what it should be.
Told = Annotated[T | None, Wrap(_or_none)]


def as_object(value: JsonValue) -> Json:
    """Return a JSON object; an empty one for any other value."""
    return value if isinstance(value, dict) else {}


def from_json(kind: type[R], value: JsonValue) -> R:
    """Return the record that a JSON value stands for.

    Types are strict: a boolean is no number, and a number no text.

    Raises:
        ValueError: naming the first key whose value is not what it should be.
    """
    values = as_object(value)
    try:
        record: R = _adapter(kind).validate_python(_nested(kind, values))
    except ValidationError as error:
        key = ".".join(map(str, error.errors(include_url=False, include_input=False)[0]["loc"][:1]))
        raise ValueError(f"its {key} is not what it should be") from error
    # No field, so that a copy with another value does not take it along.
    object.__setattr__(record, "_source", values)
    return record


def from_json_or_none(kind: type[R], value: JsonValue) -> R | None:
    """Return the record that a JSON value stands for, or None where it stands for none."""
    try:
        return from_json(kind, value)
    except ValueError:
        return None


def to_json(value: Any) -> Any:
    """Return a value as JSON has it: records as their objects, other dataclasses with all fields, tuples as lists."""
    # Nearly all of them, and the questions below take long.
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Record):
        return value.as_json()
    if is_dataclass(value):
        return {each.name: to_json(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_json(inner) for key, inner in cast("Mapping[str, Any]", value).items()}
    return [to_json(inner) for inner in cast("list[Any]", value)] if isinstance(value, list | tuple) else value


def json_line(value: Mapping[str, Any]) -> str:
    """Return a JSON object as a line of text, without its end."""
    return json.dumps(to_json(value), ensure_ascii=False)


def json_file(value: Mapping[str, Any]) -> bytes:
    """Return a JSON object as the bytes of a file for people and programs.

    Raises:
        ValueError: for numbers that JSON does not have.
    """
    return (json.dumps(to_json(value), ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode("utf-8")


@dataclass(frozen=True)
class _Key:
    """A field of a record, as it stands in the object.

    Args:
        name: of the field.
        default: with which it is left out.
        inline: of a record whose keys stand among those of the outer one, how they are spelled there.
        kind: of that record.
        may_be_none: whether there may be none of it.
    """

    name: str
    default: Any
    inline: Mapping[str, str] | None = None
    kind: Any = None
    may_be_none: bool = False

    @property
    def nulls(self) -> list[str]:
        """The keys that stand for none, where it is no default."""
        return [each.name for each in _keys(self.kind) if each.inline is None]


@cache
def _keys(kind: Any) -> tuple[_Key, ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple(_key(each.name, each.default, hints[each.name]) for each in fields(kind))


def _key(name: str, default: Any, hint: Any) -> _Key:
    inline = next((each for each in getattr(hint, "__metadata__", ()) if isinstance(each, Inline)), None)
    if inline is None:
        return _Key(name, default)
    kind: Any = get_args(hint)[0]
    # Of `Kind | None` the first of the two.
    kinds: tuple[Any, ...] = get_args(kind) or (kind,)
    first, *others = kinds
    names: list[str] = [name for each in _keys(first) for name in each.inline or (each.name,)]
    return _Key(name, default, {name: inline.prefix + name for name in names}, first, may_be_none=bool(others))


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _object(record: Record) -> Json:
    values: Json = {}
    for key in _keys(type(record)):
        value = getattr(record, key.name)
        if value == key.default:
            continue
        if key.inline is None:
            values[key.name] = to_json(value)
            continue
        inner = dict.fromkeys(key.nulls) if value is None else _object(value)
        values |= {key.inline[name]: part for name, part in inner.items()}
    return values


def _nested(kind: Any, value: Json) -> dict[str, Any]:
    """Return an object with what is inline in it as objects of their own."""
    nested: dict[str, Any] = dict(value)
    for key in _keys(kind):
        if key.inline is not None:
            inner = {name: value[spelled] for name, spelled in key.inline.items() if spelled in value}
            is_there = not key.may_be_none or any(part is not None for part in inner.values())
            nested[key.name] = _nested(key.kind, inner) if is_there else None
    return nested
