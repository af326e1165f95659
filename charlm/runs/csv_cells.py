"""Cells of CSV, for programs and for spreadsheets: numbers as they are, and no text that is taken for a formula."""

from __future__ import annotations

import math

from pydantic import JsonValue

# What a spreadsheet takes for the beginning of a formula, full-width forms included.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def csv_cell(value: JsonValue) -> JsonValue:
    """Return a value as a cell; a text that a spreadsheet would compute is led by an apostrophe, the usual sign.

    Texts come from anybody: a corpus' path, a setting or a folder's name of a run that a stranger has made.

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
