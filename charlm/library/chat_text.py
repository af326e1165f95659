"""The text that a conversation is about: how far it has come, how its end is shown, and what a model does not know."""

from __future__ import annotations

from dataclasses import dataclass

from charlm.generation.session import Progress
from charlm.text.nearest_characters import known_instead
from charlm.text.unknown import named
from charlm.text.vocabulary import Vocabulary

# How much of a text is repeated: before its next characters are chosen, and before it is continued.
MAX_RECENT, MAX_SHOWN, MAX_END = 400, 160, 60
MAX_NAMED = 10
ELLIPSIS = "…"


@dataclass(frozen=True)
class TextInProgress:
    """A text and where it has got to.

    Args:
        progress: what the model has read of it.
        seed: the random seed that it was begun with.
        recent: its last characters, or all of them.
        is_cut: whether there are more before those.
        is_whole: whether it is an item that has ended.
    """

    progress: Progress
    seed: int
    recent: str = ""
    is_cut: bool = False
    is_whole: bool = False

    def with_more(self, text: str, progress: Progress, *, is_whole: bool = False) -> TextInProgress:
        """Return the text after more of it."""
        recent = self.recent + text
        is_cut = self.is_cut or len(recent) > MAX_RECENT
        return TextInProgress(progress, self.seed, recent[-MAX_RECENT:], is_cut, is_whole)

    @property
    def shown(self) -> str:
        """The text so far, or its end after an ellipsis."""
        return self._last(self.recent, MAX_SHOWN)

    @property
    def end(self) -> str:
        """The end of its last line, from the beginning of a word."""
        _, line_end, line = self.recent.rpartition("\n")
        return self._last(line if line_end else self.recent, MAX_END, is_all=bool(line_end))

    def _last(self, text: str, most: int, *, is_all: bool = False) -> str:
        """Return the end of a text from the beginning of a word, after an ellipsis; a short one as it is."""
        if len(text) <= most and (is_all or not self.is_cut):
            return text
        last = text[-most:]
        return ELLIPSIS + (last.partition(" ")[2] or last)


def unknown_note(characters: list[str], vocabulary: Vocabulary, *, is_replaced: bool) -> str:
    """Return a sentence that names characters which a model does not know, and says what becomes of them."""
    fate = "read as its unknown symbol" if is_replaced else "left out"
    more = f" and {len(characters) - MAX_NAMED:,} more" if len(characters) > MAX_NAMED else ""
    listed = ", ".join(map(named, characters[:MAX_NAMED])) + more
    return f"the model does not know {listed}: {fate}{known_instead(''.join(characters), vocabulary)}"
