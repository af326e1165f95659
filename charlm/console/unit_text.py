"""Print a text with each character coloured by the value of one unit."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.text import Text

from charlm.console.surprise import coloured_rows
from charlm.console.terminal import console_for, has_colours
from charlm.insight.inspected_unit import InspectedUnit

# Colours from the lowest values to the highest, as shares of the largest absolute value; blue and red, because nearly
# everyone can tell them apart.
BANDS = ((-1.0, "white on blue"), (-0.6, "blue"), (-0.2, ""), (0.2, "red"), (0.6, "white on red"))


def show_unit(found: InspectedUnit) -> None:
    """Print a text coloured by a unit's values, or one row per character without colours."""
    console = console_for(sys.stdout)
    if not has_colours(console):
        print("position\tcharacter\tvalue")
        for position, (character, value) in enumerate(zip(found.text, found.values, strict=True)):
            print(f"{position}\t{character!r}\t{value:.4f}")
        return
    console.print(Text(f"run {found.run}, step {found.step:,}: {found.name}", style="bold"), soft_wrap=True)
    most = max(map(abs, found.values)) or 1.0
    console.print(_legend(most))
    styled = ((character, style_of(value / most)) for character, value in zip(found.text, found.values, strict=True))
    for row in coloured_rows(styled, console.width):
        console.print(row, soft_wrap=True)


def style_of(share: float) -> str:
    """Return the colour of a value, given as its share of the largest absolute value."""
    return [style for low, style in BANDS if share >= low][-1]


def _legend(most: float) -> Text:
    legend = Text("values: ")
    highs: Sequence[float] = [*(low for low, _ in BANDS[1:]), 1.0]
    for (low, style), high in zip(BANDS, highs, strict=True):
        legend.append(f" {low * most:.2f} to {high * most:.2f} ", style=style)
    return legend
