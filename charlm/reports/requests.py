"""What a picture of learning curves is asked for: its axes, units and parts, from words that people type."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from charlm.errors import ConfigError, printable
from charlm.evaluation.figure import Figure
from charlm.settings.nearest import did_you_mean, nearest_choice

Unit = Literal["perplexity", "bpc", "nats"]
Part = Literal["train", "val"]
Against = Literal["epoch", "step", "chars", "time"]
W = TypeVar("W", bound=str)
UNITS: dict[Unit, str] = {"perplexity": "perplexity", "bpc": "bits per character", "nats": "nats per character"}
PARTS: dict[Part, str] = {"train": "training", "val": "validation"}
# Other words for what can be drawn.
MEANINGS = {
    "ppl": "perplexity",
    "perplexities": "perplexity",
    "bits": "bpc",
    "loss": "nats",
    "nll": "nats",
    "epochs": "epoch",
    "steps": "step",
    "iterations": "step",
    "iter": "step",
    "characters": "chars",
    "minutes": "time",
    "seconds": "time",
    "training": "train",
    "validation": "val",
    "valid": "val",
    "dev": "val",
}


@dataclass(frozen=True)
class Request:
    """What is asked of a picture of learning curves.

    Args:
        x: what is drawn against, with panels for each.
        y: the units, with panels for each.
        parts: whose results are drawn.
        has_panels: whether each row has panels of its own.
    """

    x: tuple[Against, ...] = ("epoch",)
    y: tuple[Unit, ...] = ("perplexity",)
    parts: tuple[Part, ...] = ("train", "val")
    has_panels: bool = False


def read_request(
    *, x: str | Sequence[str], y: str | Sequence[str], part: str | Sequence[str], panels: bool = False
) -> Request:
    """Return what is asked for, from words that may be separated by commas.

    Raises:
        ConfigError: if a word means nothing here, or if there is none.
    """
    axes: tuple[Against, ...] = get_args(Against)
    return Request(_chosen("x", x, axes), _chosen("y", y, tuple(UNITS)), _chosen("part", part, tuple(PARTS)), panels)


def _chosen(name: str, given: str | Sequence[str], choices: Sequence[W]) -> tuple[W, ...]:
    """Return the choices that are named, each once."""
    texts = [given] if isinstance(given, str) else given
    words = [word.strip() for text in texts for word in text.split(",")] or [""]
    for word in words:
        if word not in choices:
            meant = MEANINGS.get(word.lower().strip("-"), word.lower())
            near = meant if meant in choices else nearest_choice(word, choices)
            shown = printable(word) if word else "nothing"
            raise ConfigError(
                f"--{name} must be {', '.join(choices[:-1])} or {choices[-1]}, got {shown}{did_you_mean(near)}"
            )
    return tuple(choice for word in dict.fromkeys(words) for choice in choices if choice == word)


def in_unit(bits: float, unit: Unit) -> float:
    """Return bits per character in another unit."""
    nats = bits * math.log(2)
    return {"bpc": bits, "nats": nats, "perplexity": Figure(nats, 1).perplexity}[unit]


def in_bits(value: float, unit: Unit) -> float:
    """Return a result in a unit as bits per character; of a perplexity that none can have, infinitely many."""
    nats = math.log(value) if unit == "perplexity" and value > 0 else math.inf if unit == "perplexity" else value
    return value if unit == "bpc" else nats / math.log(2)
