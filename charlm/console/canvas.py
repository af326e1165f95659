"""A canvas of Braille characters: each cell has 2 x 4 dots, one colour, and perhaps a mark in their place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from rich.text import Text

# The bits of the dots of a Braille character, from its upper left, row by row.
BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
BRAILLE = 0x2800
WIDE, HIGH = len(BITS[0]), len(BITS)


class Canvas:
    """Draw lines and marks into a rectangle of cells.

    Args:
        width: number of columns.
        height: number of rows.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._bits = [[0] * width for _ in range(height)]
        self._styles = [[""] * width for _ in range(height)]
        self._marks: dict[tuple[int, int], str] = {}

    def draw(self, points: Sequence[tuple[float, float]], style: str, *, dash: int = 0, gap: int = 0) -> None:
        """Join points by a line.

        Args:
            points: places from 0 to 1, from the left and from the bottom.
            style: the colour.
            dash: how many dots of each dash are drawn.
            gap: how many dots are left out after it; 0 for a whole line.
        """
        places = [self._dot(*point) for point in points]
        count = 0
        for (left, low), (right, high) in pairwise(places):
            steps = max(abs(right - left), abs(high - low), 1)
            for step in range(steps):
                if count % (dash + gap or 1) < (dash or 1):
                    self._set(
                        left + round((right - left) * step / steps), low + round((high - low) * step / steps), style
                    )
                count += 1
        if places and not gap:
            self._set(*places[-1], style)

    def mark(self, point: tuple[float, float], mark: str, style: str) -> bool:
        """Put a mark at a point, and say whether its place was free."""
        column, row = self.cell(*point)
        if (row, column) in self._marks:
            return False
        self._marks[row, column], self._styles[row][column] = mark, style
        return True

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """Return the column and the row of a point's cell."""
        column, row = self._dot(x, y)
        return column // WIDE, row // HIGH

    def rows(self) -> list[Text]:
        """Return the rows, from top to bottom."""
        return [self._row(number) for number in range(self.height)]

    def _row(self, number: int) -> Text:
        text = Text()
        for column, (bits, style) in enumerate(zip(self._bits[number], self._styles[number], strict=True)):
            mark = self._marks.get((number, column))
            text.append(mark or (chr(BRAILLE + bits) if bits else " "), style)
        return text

    def _dot(self, x: float, y: float) -> tuple[int, int]:
        columns, rows = self.width * WIDE - 1, self.height * HIGH - 1
        return _within(x, columns), rows - _within(y, rows)

    def _set(self, column: int, row: int, style: str) -> None:
        cell, line = column // WIDE, row // HIGH
        self._bits[line][cell] |= BITS[row % HIGH][column % WIDE]
        if (line, cell) not in self._marks:
            self._styles[line][cell] = style


def _within(share: float, most: int) -> int:
    return min(max(round(share * most), 0), most) if math.isfinite(share) else 0
