"""A configuration file to start from, with every setting, its default and its description."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator

from pydantic import BaseModel, JsonValue

from charlm.settings.schema import Settings
from charlm.settings.strict_yaml import dump_yaml
from charlm.settings.values import Period

# The width of a small terminal.
WIDTH = 80


def commented_defaults() -> str:
    """Return a YAML text that loads as the defaults, with a comment above every setting."""
    lines = ["# This file has every setting of charlm with its default; delete what you do not change."]
    lines += _section_lines(Settings(), indent="")
    return "\n".join(lines) + "\n"


def _section_lines(section: BaseModel, indent: str) -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel) and not isinstance(value, Period):
            yield ""
            yield from _comment(field.description, indent)
            yield f"{indent}{name}:"
            yield from _section_lines(value, indent + "  ")
        else:
            plain = section.model_dump(mode="json")[name]
            yield from _comment(field.description, indent)
            yield f"{indent}{name}: {inline(plain)}"


def _comment(text: str | None, indent: str) -> list[str]:
    mark = f"{indent}# "
    return textwrap.wrap(
        f"{text}.", WIDTH, initial_indent=mark, subsequent_indent=mark, break_long_words=False, break_on_hyphens=False
    )


def inline(value: JsonValue) -> str:
    """Return a value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {inline(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        # Every JSON text is YAML, and unlike the lists of our YAML it has one line.
        return json.dumps(value, ensure_ascii=False)
    return dump_yaml({"value": value}).removeprefix("value: ").strip()
