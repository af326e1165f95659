"""How a text begins where nobody says how: as the lines of the model's corpus do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from charlm.errors import ConfigError
from charlm.library.models import Model
from charlm.text.cleaning import clean_prefix


@dataclass(frozen=True)
class Opening:
    """What a model reads before it writes without a prompt.

    Args:
        text: read first; the model knows all of it.
        is_line_end: whether it is a line end, which is no part of the text; else it is the beginning of a line.
        is_backward: whether the model reads backwards, and this is how texts end.
    """

    text: str
    is_line_end: bool
    is_backward: bool

    @property
    def prefix(self) -> str | None:
        """What is written on from."""
        return None if self.is_backward else self.text

    @property
    def suffix(self) -> str | None:
        """What is written towards, by a backward model."""
        return self.text if self.is_backward else None

    @property
    def shown(self) -> str:
        """What of it belongs to the text."""
        return "" if self.is_line_end else self.text


def opening(model: Model) -> Opening:
    """Return how a model's texts begin without a prompt, or end if it reads backwards.

    A model that knows line ends has them before the first character. Of another, whose corpus is one long line, it is
    the first of the sample prefixes that its run recorded.

    Raises:
        ConfigError: where the run folder tells of none.
    """
    known, is_backward = model.checkpoint.vocabulary.characters, model.direction == "backward"
    for line_end in ("\n", "\r"):
        if line_end in known:
            return Opening(line_end, is_line_end=True, is_backward=is_backward)
    for text in _recorded(model):
        if text and set(known).issuperset(text):
            return Opening(text, is_line_end=False, is_backward=is_backward)
    raise ConfigError(
        f"the model of run {model.run.name} knows no line ends and its run has no sample prefix to begin with: give a "
        "text to write on from"
    )


def _recorded(model: Model) -> Iterator[str]:
    for table in model.run.samples()[:1]:
        for sample in table.samples:
            yield sample.prefix or sample.suffix or ""
    corpus = model.checkpoint.settings.corpus
    for text in model.checkpoint.settings.sample.prefixes or ():
        yield clean_prefix(text, corpus.clean)
