"""A text with the value of one unit at each of its characters."""

from __future__ import annotations

import re
from dataclasses import dataclass

from charlm.errors import ConfigError, printable

_NAME = re.compile(r"(\d{1,5}):(\d{1,6})(?::([a-z]))?")
MAX_NAME = 60


@dataclass(frozen=True)
class InspectedUnit:
    """A text in its own order, with the value of a unit at each character.

    Args:
        run: the name of the run.
        step: the step of the checkpoint.
        layer: the unit's layer, from 1.
        unit: the unit's number in its layer, from 1.
        part: h for the hidden state, c for the cell state of an LSTM, or the letter of a gate.
        text: the text, (N,) characters.
        values: the values, (N,).
    """

    run: str
    step: int
    layer: int
    unit: int
    part: str
    text: str
    values: tuple[float, ...]

    @property
    def name(self) -> str:
        """The unit in words."""
        return f"layer {self.layer}, unit {self.unit}, {self.part}"


def parse_unit(name: str) -> tuple[int, int, str]:
    """Return the layer, the unit and the part that a name such as 1:37 or 1:37:c means.

    Raises:
        ConfigError: for any other text.

    Example:
        >>> parse_unit("1:37"), parse_unit("2:5:f")
        ((1, 37, 'h'), (2, 5, 'f'))
    """
    if found := _NAME.fullmatch(name.strip()):
        return int(found[1]), int(found[2]), found[3] or "h"
    raise ConfigError(
        f"a unit is named by its layer and its number, such as 1:37, or 1:37:c for an LSTM's cell state, not "
        f"{printable(name, MAX_NAME)!r}"
    )
