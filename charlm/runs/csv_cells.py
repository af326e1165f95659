"""CSV cells for programs and spreadsheets: numbers stay as they are, and no text is taken for a formula."""

from __future__ import annotations

import math

from pydantic import JsonValue

# The characters that a spreadsheet takes for the start of a formula, including full-width forms.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def csv_cell(value: JsonValue) -> JsonValue:
    """Return a value as a cell; a text that a spreadsheet would compute gets an apostrophe in front, as is usual.

    Texts can come from anybody: a corpus path, a setting or a folder name in a run made by a stranger.

    >>> csv_cell("=HYPERLINK(1)"), csv_cell("-0.5"), csv_cell(-0.5)
    ("'=HYPERLINK(1)", '-0.5', -0.5)
    """
    is_risky = isinstance(value, str) and value.startswith(FORMULA_STARTS) and not _is_number(value)
    return f"'{value}" if is_risky else value


def _is_number(text: str) -> bool:
    try:
        return text.isascii() and text == text.strip() and math.isfinite(float(text))
    except ValueError:
        return False
