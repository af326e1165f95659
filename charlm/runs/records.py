"""A run's records, one JSON object a line: read as data from a stranger, a line torn by a crash left out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from charlm.runs.untrusted import as_object, check_depth, open_regular

# A table of the longest samples there can be; of a longer line nothing is kept.
MAX_LINE_BYTES = 1 << 25
MAX_NUMBER = 1e18
COUNTS = ("step", "steps", "epoch", "epochs", "best_step")
NUMBERS = ("seconds", "chars_seen", "chars_per_second", "num_parameters")
RATES = ("_nats_per_char", "_bpc", "_perplexity", "_chars", "_bits_per_byte")
TEXTS = ("kind", "run", "stopped_by", "direction", "warning", "val_sha256", "test_sha256")
# What the table of a run's end is drawn of.
SUMMARY = ("steps", "epochs", "best_step", "seconds", "chars_per_second", "stopped_by", "direction")
FIGURES = ("bpc", "perplexity", "chars")
OTHER_FIGURES = ("backward_bpc", "backward_perplexity", "cloze_bpc", "cloze_pseudo_perplexity")
# A run of an older charlm has none of these.
STANDING = ("nats_per_char", "bits_per_byte", "sha256")


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each record of a file, with the bytes from the file's start to its end.

    What is no record, as a line torn by a crash, ends it; whatever stands before it is whole.

    Raises:
        RunError: for what is no regular file.
    """
    if not path.exists():
        return
    end = 0
    with open_regular(path) as file:
        # Bytes: a text's lines also end at U+2028 and its like, and a torn one may end within a character.
        while line := file.readline(MAX_LINE_BYTES):
            end += len(line)
            record = _record(line) if line.endswith(b"\n") else None
            if record is None:
                return
            yield end, record


def is_summary(record: Mapping[str, Any]) -> bool:
    """Say whether a closing record has all that a table of it needs."""
    has_figures = all(_is_told(record, part) for part in ("train", "val", "test"))
    return has_figures and all(record.get(key) is not None for key in SUMMARY)


def _is_told(record: Mapping[str, Any], part: str) -> bool:
    """Say whether a part has no figure, or one with all that is drawn of it."""
    if record.get(f"{part}_bpc") is None:
        return f"{part}_bpc" in record
    others = OTHER_FIGURES if f"{part}_cloze_bpc" in record else ()
    standing = STANDING if f"{part}_bits_per_byte" in record else ()
    return all(record.get(f"{part}_{key}") is not None for key in (*FIGURES, *others, *standing))


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
        check_depth(value)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    record = cast("dict[str, Any]", value)
    return record if all(_is_right(key, field) for key, field in record.items()) else None


def _is_right(key: str, value: Any) -> bool:
    """Say whether a field can be what was written; of those that nobody draws, anything can."""
    if key in TEXTS:
        return isinstance(value, str) and value.isprintable()
    if key in COUNTS:
        return type(value) is int and 0 <= value < MAX_NUMBER
    if key in NUMBERS or key.endswith(RATES):
        return value is None or _is_number(value)
    if key.endswith("_bpc_interval"):
        return value is None or _is_interval(value)
    if key.endswith("_baselines"):
        return value is None or _are_baselines(value)
    return key != "samples" or (isinstance(value, list) and all(map(_is_sample, cast("list[Any]", value))))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and not MAX_NUMBER < abs(value) < math.inf


def _is_interval(value: Any) -> bool:
    bounds = cast("list[Any]", value) if isinstance(value, list) else []
    return len(bounds) == 2 and all(map(_is_number, bounds))


def _are_baselines(value: Any) -> bool:
    figures = as_object(value)
    return bool(figures) and all(name.isprintable() and _is_number(bits) for name, bits in figures.items())


def _is_sample(value: Any) -> bool:
    texts = as_object(value)
    return bool(texts) and all(isinstance(text, str) for text in texts.values())
