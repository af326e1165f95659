"""Do once what takes most of the time of many small commands in one process and always gives the same result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cache, lru_cache
from typing import Any

import typer.testing
import yaml

MAX_KEPT_YAML, MAX_KEPT_OPENINGS = 20_000, 100
_parse = yaml.parse


def remember() -> None:
    """Build the commands once, and parse each configuration once."""
    typer.testing._get_command = cache(typer.testing._get_command)  # pyright: ignore[reportPrivateUsage]
    yaml.parse = parse_once


@lru_cache(256)
def _events(text: str, loader: Any) -> tuple[Any, ...]:
    return tuple(_parse(text, loader))


def parse_once(stream: Any, Loader: Any = yaml.Loader) -> Iterator[Any]:
    """Return the events of a text, from memory where it was parsed before."""
    # Of what is nested too deeply the reader stops in time, and so must this.
    if isinstance(stream, str) and len(stream) < MAX_KEPT_YAML and max(map(stream.count, "[{")) < MAX_KEPT_OPENINGS:
        # What cannot be parsed fails where it does, after the events before.
        with suppress(yaml.YAMLError, RecursionError, ValueError):
            return iter(_events(stream, Loader))
    return _parse(stream, Loader)
