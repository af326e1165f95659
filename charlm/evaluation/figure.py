"""A result on a text: nats are summed, characters are counted, and the division happens once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """Summed nats and the number of characters; every rate is derived from these two.

    Args:
        nats: total negative log-likelihood.
        num_predicted: number of characters predicted, one fewer than the text has.
    """

    nats: float
    num_predicted: int

    @property
    def nats_per_char(self) -> float:
        """Mean negative log-likelihood of a character, in nats."""
        return self.nats / self.num_predicted

    @property
    def bits_per_char(self) -> float:
        """Mean negative log-likelihood of a character, in bits."""
        return self.nats_per_char / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp(nats per character); infinite if that overflows."""
        return math.exp(self.nats_per_char) if self.nats_per_char < 700 else math.inf

    def __add__(self, other: Figure) -> Figure:
        """Return the result for both texts together."""
        return Figure(self.nats + other.nats, self.num_predicted + other.num_predicted)


@dataclass(frozen=True)
class Figures:
    """Everything that one pass over a text measures.

    Args:
        main: the result of the model in its own direction; for a bidirectional model, that of its forward half.
        backward: the result of a bidirectional model's backward half, which has a true perplexity too.
        cloze: the result of both halves, where each character is predicted from both sides. It is a
            pseudo-likelihood, whose exponential is not a perplexity (Salazar et al. 2020).
    """

    main: Figure
    backward: Figure | None = None
    cloze: Figure | None = None

    def __add__(self, other: Figures) -> Figures:
        """Return the results for both texts together."""
        if self.backward is None or other.backward is None or self.cloze is None or other.cloze is None:
            return Figures(self.main + other.main)
        return Figures(self.main + other.main, self.backward + other.backward, self.cloze + other.cloze)

    @property
    def is_finite(self) -> bool:
        """Whether every perplexity is finite; a model that costs 700 nats per character has diverged too."""
        return all(math.isfinite(figure.perplexity) for figure in (self.main, self.backward, self.cloze) if figure)


def figures_record(figures: Figures | None, prefix: str = "") -> dict[str, Any]:
    """Return the rates as JSON values, whose keys begin with the prefix; without results the values are null.

    Only bidirectional models have `backward_bpc` and `cloze_bpc` in addition to `bpc`.
    """
    if figures is None:
        return {f"{prefix}{rate}": None for rate in ("nats_per_char", "bpc", "perplexity", "chars")}
    main = figures.main
    record: dict[str, Any] = {
        "nats_per_char": main.nats_per_char,
        "bpc": main.bits_per_char,
        "perplexity": main.perplexity,
        "chars": main.num_predicted,
    }
    if figures.backward is not None and figures.cloze is not None:
        record |= {
            "backward_bpc": figures.backward.bits_per_char,
            "backward_perplexity": figures.backward.perplexity,
            "cloze_bpc": figures.cloze.bits_per_char,
            "cloze_pseudo_perplexity": figures.cloze.perplexity,
        }
    return {prefix + key: value for key, value in record.items()}
