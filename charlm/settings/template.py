"""A configuration file to start from: every setting with its default and its description."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, JsonValue

from charlm.settings.schema import Settings
from charlm.settings.strict_yaml import dump_yaml
from charlm.settings.values import Period


def commented_defaults() -> str:
    """Return a YAML text that loads as the defaults, a comment beside every setting."""
    lines = ["# Every setting of charlm with its default; delete what you do not change."]
    lines += _section_lines(Settings(), indent="")
    return "\n".join(lines) + "\n"


def _section_lines(section: BaseModel, indent: str) -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel) and not isinstance(value, Period):
            yield f"{indent}{name}:  # {field.description}"
            yield from _section_lines(value, indent + "  ")
        else:
            plain = section.model_dump(mode="json")[name]
            yield f"{indent}{name}: {inline(plain)}  # {field.description}"


def inline(value: JsonValue) -> str:
    """Return a value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {inline(entry)}" for key, entry in value.items()) + "}"
    return dump_yaml({"value": value}).removeprefix("value: ").strip()
