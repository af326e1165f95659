"""Records and JSON: the one place that turns frozen dataclasses into JSON objects, and untrusted objects into them.

The fields of a record are the keys of its object, in order. A field that has its default is left out of the object, and
a key that is missing has its default, so that records of an older charlm can be read. Unknown keys are ignored.
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
    """A frozen dataclass that represents a JSON object, and that scripts may read like that object.

    It also equals the object: its dataclass leaves the comparison to this class (`eq=False`).
    """

    def as_json(self) -> Json:
        """Return the JSON object; for a record that was read, this is the original one."""
        return vars(self).get("_source") or _object(self)

    def __getitem__(self, key: str) -> Any:
        return self.as_json()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_json())

    def __len__(self) -> int:
        return len(self.as_json())


@dataclass(frozen=True)
class Inline:
    """Marks a record whose keys are among those of the outer one, each with a prefix; if it is None, they are null."""

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
# A finite number of at least 0.
Amount = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(strict=True)]
Line = Annotated[Text, AfterValidator(_is_one_line)]
Sha256 = Annotated[str, Field(strict=True, pattern="^[0-9a-f]{64}$")]
# A value that may be anything in an untrusted file; None if it is not what it should be.
Told = Annotated[T | None, Wrap(_or_none)]


def as_object(value: JsonValue) -> Json:
    """Return a JSON object unchanged, and an empty one for any other value."""
    return value if isinstance(value, dict) else {}


def from_json(kind: type[R], value: JsonValue) -> R:
    """Return the record that a JSON value represents.

    Types are strict: a boolean is not a number, and a number is not a text.

    Raises:
        ValueError: naming the first key whose value is not what it should be.
    """
    values = as_object(value)
    try:
        record: R = _adapter(kind).validate_python(_nested(kind, values))
    except ValidationError as error:
        key = ".".join(map(str, error.errors(include_url=False, include_input=False)[0]["loc"][:1]))
        raise ValueError(f"its {key} is not what it should be") from error
    # This is not a field, so that a copy with another value does not inherit it.
    object.__setattr__(record, "_source", values)
    return record


def from_json_or_none(kind: type[R], value: JsonValue) -> R | None:
    """Return the record that a JSON value represents, or None if it represents none."""
    try:
        return from_json(kind, value)
    except ValueError:
        return None


def to_json(value: Any) -> Any:
    """Return a value as JSON: records become their objects, other dataclasses all their fields, and tuples lists."""
    # Nearly all values are of these types, and the checks below are slow.
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
    """Return a JSON object as a line of text without a line end."""
    return json.dumps(to_json(value), ensure_ascii=False)


def json_file(value: Mapping[str, Any]) -> bytes:
    """Return a JSON object as the bytes of a file for people and programs.

    Raises:
        ValueError: for numbers that JSON cannot represent.
    """
    return (json.dumps(to_json(value), ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode("utf-8")


@dataclass(frozen=True)
class _Key:
    """A field of a record, and how its object represents it.

    Args:
        name: name of the field.
        default: the value with which it is left out.
        inline: for an inline record, how its keys are spelt in the outer object.
        kind: the type of the inline record.
        may_be_none: whether the inline record may be None.
    """

    name: str
    default: Any
    inline: Mapping[str, str] | None = None
    kind: Any = None
    may_be_none: bool = False

    @property
    def nulls(self) -> list[str]:
        """The keys that are null if the inline record is None and that is not the default."""
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
    # `Kind | None` has two arguments, of which the first is the record.
    kinds: tuple[Any, ...] = get_args(kind) or (kind,)
    first, *others = kinds
    # An inline record of this record is spelt as in this record's own object.
    names = [name for each in _keys(first) for name in (each.inline.values() if each.inline else (each.name,))]
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
    """Return an object in which inline records are separate objects."""
    nested: dict[str, Any] = dict(value)
    for key in _keys(kind):
        if key.inline is not None:
            inner = {name: value[spelled] for name, spelled in key.inline.items() if spelled in value}
            is_there = not key.may_be_none or any(part is not None for part in inner.values())
            nested[key.name] = _nested(key.kind, inner) if is_there else None
    return nested
