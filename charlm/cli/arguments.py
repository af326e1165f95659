"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from charlm.errors import ConfigError
from charlm.settings.nearest import did_you_mean, nearest_choice

# No count here has more digits, and Python refuses to parse an integer of thousands of digits.
MAX_DIGITS = 18
MAX_SHOWN = 60

RunOption = Annotated[
    str | None,
    typer.Option("--run", help="A run's name or path, or an exported file; without it, the newest run."),
]
RunsDirOption = Annotated[
    Path | None,
    typer.Option("--runs-dir", envvar="CHARLM_RUNS_DIR", help="The folder that holds the runs.", show_default="./runs"),
]
CheckpointOption = Annotated[
    str, typer.Option("--checkpoint", help="The checkpoint to use: best, last, or a step's number.")
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="The device to compute on: auto, cpu, cuda, cuda:N or mps.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
UnknownOption = Annotated[
    Literal["error", "skip", "replace"] | None,
    typer.Option(
        "--unknown",
        help="What to do with characters the model does not know: error, skip or replace.",
        metavar="POLICY",
        show_default="the run's",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Change one setting, as in model.hidden_size=128; may be repeated.", metavar="KEY=VALUE"
    ),
]
ConfigOption = Annotated[
    list[str] | None,
    typer.Option(
        "--config", help="A YAML file or a bundled configuration; may be repeated, later ones win.", metavar="FILE"
    ),
]


def read_checkpoint_choice(text: str) -> Literal["best", "last"] | int:
    """Return best, last, or a step's number.

    Raises:
        ConfigError: for anything else.
    """
    if text == "best" or text == "last":
        return text
    if text.isdecimal() and len(text) <= MAX_DIGITS:
        return int(text)
    near = did_you_mean(nearest_choice(text, ("best", "last")))
    raise ConfigError(f"--checkpoint must be best, last or a step's number, got {shown(text)}{near}")


def shown(text: str) -> str:
    """Quote what was typed for a message, as Python would, and shorten it where it is long."""
    return repr(text) if len(text) <= MAX_SHOWN else repr(text[:MAX_SHOWN]) + "..."


def is_there(name: str) -> bool:
    """Return whether a file or folder of this name exists."""
    try:
        return bool(name.strip()) and Path(name).exists()
    except (OSError, ValueError):  # too long for a name, or a zero byte in it
        return False
