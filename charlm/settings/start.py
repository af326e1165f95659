"""The settings of training on: which run's weights training starts from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from charlm.settings.values import Conflict, Section

NewCharacters = Literal["error", "extend", "drop"]


class StartSettings(Section):
    """Start from the best checkpoint of another run, with its network, cleaning and vocabulary."""

    run: str | None = Field(
        default=None,
        description="Names the run whose best checkpoint training starts from: its name or path, newest, or the path "
        "of a checkpoint; null starts from random weights, so set it to train a finished model on another text",
    )
    new_characters: NewCharacters = Field(
        default="error",
        description="Decides what happens to characters of the text that the model of start.run does not know: error "
        "refuses them, extend adds them to the model, and drop reads them as its unknown symbol or, without one, "
        "leaves them out; choose extend if the model should write them",
    )


def start_conflicts(start: StartSettings) -> Iterator[Conflict]:
    """Yield the conflicts between settings of the start."""
    if start.run is None and start.new_characters != "error":
        yield "start.new_characters", "belongs to start.run, which is null: name a run with --from"
    if start.run is not None and not start.run.strip():
        yield "start.run", "is empty: is a shell variable unset?"
