"""What a conversation answers: events, which a terminal, a page or a server shows in its own way."""

from __future__ import annotations

from dataclasses import dataclass

from charlm.evaluation.characters import ScoredCharacter
from charlm.evaluation.next_character import NextCharacter
from charlm.evaluation.subject import Subject
from charlm.library.chat_commands import COMMANDS, Command


@dataclass(frozen=True)
class Repeated:
    """Text that new text is about to follow.

    Args:
        text: a prompt, as the model has read it, or the end of a text that is continued.
        is_end: whether it is the end of a text, all of which was shown before.
    """

    text: str
    is_end: bool = False

    @property
    def plain(self) -> str:
        """It in a transcript, where a text continues without a repetition."""
        return "" if self.is_end else self.text


@dataclass(frozen=True)
class Written:
    """A piece of new text."""

    text: str

    @property
    def plain(self) -> str:
        """It in a transcript."""
        return self.text


@dataclass(frozen=True)
class Note:
    """A sentence about what was done; each is one line.

    Args:
        text: the sentence.
        is_refusal: whether it says why nothing was done.
    """

    text: str
    is_refusal: bool = False

    @property
    def plain(self) -> str:
        """It in a transcript."""
        return f"{self.text}\n"


@dataclass(frozen=True)
class Choices:
    """The likeliest next characters, of which a digit takes one.

    Args:
        text: the text so far, or its end.
        expected: the characters, likeliest first, with the model's own probabilities.
    """

    text: str
    expected: tuple[NextCharacter, ...]

    @property
    def plain(self) -> str:
        """It in a transcript."""
        rows = [f"{place} {each.character!r} {each.probability:.4f}\n" for place, each in enumerate(self.expected, 1)]
        return "".join((f"{self.text}\n", *rows))


@dataclass(frozen=True)
class Surprise:
    """How much each character of a text surprised a model.

    Args:
        subject: the model.
        characters: the characters of the text.
        num_unknown: how many of them the model does not know.
        has_cloze: whether the model is bidirectional.
    """

    subject: Subject
    characters: tuple[ScoredCharacter, ...]
    num_unknown: int = 0
    has_cloze: bool = False

    @property
    def plain(self) -> str:
        """It in a transcript."""
        bits = [each.bits for each in self.characters if each.bits is not None]
        return f"{sum(bits):.3f} bits for {len(bits):,} characters\n"


@dataclass(frozen=True)
class Help:
    """The commands, and the settings as they are."""

    settings: str
    commands: tuple[Command, ...] = COMMANDS

    @property
    def plain(self) -> str:
        """It in a transcript."""
        return "".join(f"{command.usage}: {command.meaning}\n" for command in self.commands) + f"{self.settings}\n"


Event = Repeated | Written | Note | Choices | Surprise | Help
