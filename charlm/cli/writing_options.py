"""The options of commands that write texts."""

from __future__ import annotations

from typing import Annotated

import typer

from charlm.cli.arguments import shown
from charlm.errors import ConfigError
from charlm.settings.values import MAX_WRITTEN

MAX_TEMPERATURES = 100

LengthOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MAX_WRITTEN,
        help="The most characters to write; in a gap, the exact number.",
        show_default="200; whole items",
        metavar="N",
    ),
]
PieceLengthOption = Annotated[
    int | None,
    typer.Option(
        "--length",
        min=0,
        max=MAX_WRITTEN,
        help="The most characters to write at a time.",
        show_default="200; whole items",
        metavar="N",
    ),
]
TemperatureOption = Annotated[
    float,
    typer.Option(
        "--temperature", "-t", help="Sampling temperature; 0 always takes the likeliest character.", metavar="T"
    ),
]
TemperaturesOption = Annotated[
    str,
    typer.Option(
        "--temperature",
        "-t",
        help="Sampling temperature; 0 always takes the likeliest character. 0.3,0.7 writes at each in turn.",
        metavar="T",
    ),
]
SeedOption = Annotated[
    str, typer.Option(help="Random seed for sampling; 'random' picks one and prints it.", metavar="N")
]
TopKOption = Annotated[int | None, typer.Option(help="Sample from the K likeliest characters only.", metavar="K")]
TopPOption = Annotated[
    float | None,
    typer.Option(help="Sample from the likeliest characters that together reach probability P.", metavar="P"),
]
MinPOption = Annotated[
    float | None,
    typer.Option(help="Sample from characters at least P times as likely as the likeliest one.", metavar="P"),
]


def read_temperatures(text: str) -> list[float]:
    """Return one temperature, or each of several that are typed with commas between them.

    Raises:
        ConfigError: for anything that is not a number, for too many, and for one that is given twice.
    """
    parts = text.split(",")
    try:
        temperatures = [float(part) for part in parts]
    except ValueError:
        what = "a number" if len(parts) == 1 else "numbers with commas between them, as in 0.3,0.7"
        raise ConfigError(f"--temperature must be {what}, got {shown(text)}") from None
    if len(temperatures) > MAX_TEMPERATURES:
        raise ConfigError(f"--temperature takes at most {MAX_TEMPERATURES} numbers, got {len(temperatures):,}")
    if twice := [each for place, each in enumerate(temperatures) if each in temperatures[:place]]:
        raise ConfigError(f"--temperature has {twice[0]:g} twice: give each temperature once")
    return temperatures
