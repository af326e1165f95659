"""The records of a worked step: what a network computes on a short text, with every number.

A record needs nothing beside it: each line has its symbol, its formula, the numbers that stand in the formula, and the
result, so that it can be shown anywhere and checked with a pocket calculator.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from typing import Literal

Topic = Literal["equations", "backpropagation", "perplexity", "clipping"]
# An accent on its own is shown on a dotted circle.
CARRIER = "◌"


@dataclass(frozen=True)
class Term:
    """A number that stands in a formula.

    Args:
        symbol: what the formula calls it.
        value: the number.
    """

    symbol: str
    value: float


@dataclass(frozen=True)
class WorkedLine:
    """One equation with its numbers.

    Args:
        symbol: what is computed.
        formula: how, in the letters of the guide.
        value: the result; of a layer, that of the chosen unit.
        terms: the numbers that stand in the formula; those of the chosen unit.
        norm: the length of the whole layer's vector, or the largest singular value of a matrix; None for a number.
        meaning: a few words; empty where the symbol says it all.
    """

    symbol: str
    formula: str
    value: float
    terms: tuple[Term, ...] = ()
    norm: float | None = None
    meaning: str = ""

    def as_record(self) -> dict[str, object]:
        """Return the fields as JSON values, with the terms by their symbols."""
        return {**vars(self), "terms": {term.symbol: term.value for term in self.terms}}


@dataclass(frozen=True)
class WorkedPart:
    """Some equations that belong together, such as those of one layer.

    Args:
        title: a heading.
        text: sentences that say what the lines show.
        lines: the equations, in the order in which they are computed.
        layer: the number of the layer, from 1; None where there is no single one.
        unit: the number of the chosen unit, from 1; None where there is none.
    """

    title: str
    text: str
    lines: tuple[WorkedLine, ...]
    layer: int | None = None
    unit: int | None = None

    def as_record(self) -> dict[str, object]:
        """Return the fields as JSON values."""
        return {**vars(self), "lines": [line.as_record() for line in self.lines]}


@dataclass(frozen=True)
class Passage:
    """A short text that a network reads.

    Args:
        ids: the ids in reading order, from the initial state on.
        characters: the characters of the ids.
        start: the place of the first character whose prediction is shown; those before it are the context.
        source: where the text is from, as in "the beginning of its validation text".
    """

    ids: tuple[int, ...]
    characters: tuple[str, ...]
    start: int
    source: str

    @property
    def context(self) -> str:
        """The text before the characters whose prediction is shown."""
        return "".join(self.characters[: self.start])

    @property
    def shown(self) -> str:
        """The characters whose prediction is shown."""
        return "".join(self.characters[self.start :])

    def latest(self, number: int) -> Passage:
        """Return the passage with only its last characters shown."""
        return replace(self, start=max(self.start, len(self.ids) - number))

    def as_record(self) -> dict[str, object]:
        """Return the text as JSON values."""
        return {"source": self.source, "context": self.context, "shown": self.shown}


@dataclass(frozen=True)
class WorkedStep:
    """One step of a network in its own numbers.

    Args:
        topic: what is worked out.
        run: the run's name.
        step: the checkpoint's step.
        network: the network in a few words, such as "LSTM, 2 layers of 224 units".
        passage: the text that the network reads.
        parts: the equations, in the order in which they are computed.
        notes: sentences about what the reader has to know.
    """

    topic: Topic
    run: str
    step: int
    network: str
    passage: Passage
    parts: tuple[WorkedPart, ...]
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[WorkedLine, ...]:
        """The equations of all parts."""
        return tuple(line for part in self.parts for line in part.lines)

    def as_record(self) -> dict[str, object]:
        """Return the fields as JSON values."""
        return {
            **vars(self),
            "passage": self.passage.as_record(),
            "parts": [part.as_record() for part in self.parts],
            "notes": list(self.notes),
        }


def quoted(character: str) -> str:
    """Return a character in quotes as in Python, with escapes where it cannot be seen.

    Example:
        >>> quoted("a"), quoted(chr(10))
        ("'a'", "'\\\\n'")
    """
    is_mark = unicodedata.category(character[:1] or " ").startswith("M")
    return f"'{CARRIER}{character}'" if is_mark else repr(character)
