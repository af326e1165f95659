"""Choose how a text begins without a prompt: as the lines of the model's corpus do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from charlm.errors import ConfigError
from charlm.library.models import Model
from charlm.text.cleaning import clean_prefix


@dataclass(frozen=True)
class Opening:
    """The text that a model reads before it writes without a prompt.

    Args:
        text: the text to read first; the model knows all of its characters.
        is_line_end: whether it is a line end, which is not part of the written text, or else the beginning of a line.
        is_backward: whether the model reads backwards, so that this text is how its texts end.
        is_item: whether the texts are whole items, which begin with nothing.
    """

    text: str
    is_line_end: bool
    is_backward: bool
    is_item: bool = False

    @property
    def prefix(self) -> str | None:
        """The prefix to continue; None for a backward model."""
        return None if self.is_backward else self.text

    @property
    def suffix(self) -> str | None:
        """The suffix that a backward model writes towards; None for other models."""
        return self.text if self.is_backward else None

    @property
    def shown(self) -> str:
        """The characters of it that belong to the written text."""
        return "" if self.is_line_end else self.text


def opening(model: Model) -> Opening:
    """Return how a model's texts begin without a prompt, or end if it reads backwards.

    Items begin with nothing before them. For a model that knows line ends, a line end comes before the first character.
    Otherwise the corpus is one long line, and the first sample prefix that the run recorded is used.

    Raises:
        ConfigError: where the run has recorded no sample prefix either.
    """
    known, is_backward = model.checkpoint.vocabulary.characters, model.direction == "backward"
    if model.end is not None:
        return Opening("", is_line_end=False, is_backward=is_backward, is_item=True)
    for line_end in ("\n", "\r"):
        if line_end in known:
            return Opening(line_end, is_line_end=True, is_backward=is_backward)
    for text in _recorded(model):
        if text and set(known).issuperset(text):
            return Opening(text, is_line_end=False, is_backward=is_backward)
    raise ConfigError(
        f"the model of run {model.run.name} knows no line ends, and its run has no sample prefix to begin with: give a "
        "prefix to continue"
    )


def _recorded(model: Model) -> Iterator[str]:
    for table in model.run.samples()[:1]:
        for sample in table.samples:
            yield sample.prefix or sample.suffix or ""
    corpus = model.checkpoint.settings.corpus
    for text in model.checkpoint.settings.sample.prefixes or ():
        yield clean_prefix(text, corpus.clean)
