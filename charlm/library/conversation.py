"""A conversation with a model, apart from where it is shown: lines in, events out.

A line is a prompt, which begins a text; an empty line continues the text; a line with a colon is a command.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path

from charlm.errors import CharlmError, ConfigError, printable, reason_of
from charlm.evaluation.next_character import NextCharacter, rank_logits
from charlm.generation.filters import CALM, Filters
from charlm.generation.session import Session
from charlm.library.chat_commands import NAMES, read_command, read_length, read_seed, read_temperature
from charlm.library.chat_events import Choices, Event, Help, Note, Repeated, Surprise, Written
from charlm.library.chat_text import TextInProgress, unknown_note
from charlm.library.models import Model, open_run
from charlm.library.openings import opening
from charlm.library.scoring import read_scored_text, refuse_leaky, score
from charlm.library.writing import most_characters
from charlm.runs.durable import replace_file
from charlm.settings.corpus import UnknownPolicy

NUM_CHOICES = 5
# Few enough that a slow model is seen to write, and stops at once.
PIECE_CHARS = 32


class Conversation:
    """Answer lines with a model, whose text in progress is kept from line to line.

    Args:
        model: the model; of a bidirectional one, the forward half writes.
        filters: applied to each distribution before drawing from it.
        length: the most characters to write at a time; None as for `generate`.
        seed: the random seed.
        open_other: opens another run by its name.

    Attributes:
        is_over: whether the conversation was ended.
    Raises:
        ConfigError: for a backward model.

    Example:
        >>> conversation = Conversation(charlm.open_run("my-run"), length=20)
        >>> "".join(event.plain for event in conversation.say("the "))
        'the cat sat on the mat.'
    """

    def __init__(
        self,
        model: Model,
        *,
        filters: Filters = CALM,
        length: int | None = None,
        seed: int = 0,
        open_other: Callable[[str], Model] = open_run,
    ) -> None:
        self.filters, self.length, self.seed, self.is_over = filters, length, seed, False
        self._open_other = open_other
        self._prompt: str | None = None
        self._take(model)
        self._transcript = [f"{self.settings}\n"]

    @property
    def settings(self) -> str:
        """The model and the settings in one line."""
        filters, subject = self.filters, self.model.subject
        more = [(name, getattr(filters, name)) for name in ("top_k", "top_p", "min_p")]
        parts = [
            subject.heading,
            f"temperature {filters.temperature:g}",
            *(f"{name.replace('_', '-')} {value:g}" for name, value in more if value is not None),
            "whole items" if self.length is None and self.model.end else self._told_length,
            f"seed {self.seed}",
        ]
        return ", ".join(parts)

    def say(self, line: str) -> Generator[Event]:
        """Yield the events that answer a line.

        Each piece of text counts as shown once it is yielded. Whoever stops reading there closes the generator, and an
        empty line goes on after that piece. All other events must be read to the end.
        """
        self._transcript.append(f"> {line}\n")
        try:
            for event in self._answer(line):
                self._transcript.append(event.plain)
                yield event
        except (CharlmError, OSError) as error:
            if isinstance(error, OSError) and error.filename is None:
                raise
            sentence = f"cannot use {error.filename}: {reason_of(error)}" if isinstance(error, OSError) else str(error)
            refusal = Note(sentence, is_refusal=True)
            self._transcript.append(refusal.plain)
            yield refusal
        finally:
            if not self._transcript[-1].endswith("\n"):
                self._transcript.append("\n")

    def _take(self, model: Model) -> None:
        """Go over to a model; nothing has been written with it yet."""
        if model.direction == "backward":
            raise ConfigError(
                f"the model of run {model.run.name} reads backwards and cannot continue a prompt: charlm generate "
                "--suffix TEXT writes towards an end"
            )
        self._session = Session(model.writer(), model.checkpoint.vocabulary)
        self.model = model
        self._text: TextInProgress | None = None
        self._choices: tuple[NextCharacter, ...] = ()
        self._is_prompted = self._prompt is not None
        self._named: set[str] = set()
        self._restart()

    def _restart(self) -> None:
        """Count samples from the first again."""
        self._sample, self._num_unprompted = -1, 0

    def _answer(self, line: str) -> Iterator[Event]:
        if self._choices and len(line) == 1 and line.isdecimal():
            yield from self._choose(int(line))
            return
        self._choices = ()
        if not line:
            yield from self._go_on()
        elif line.startswith(":") and not line.startswith("::"):
            name, value = read_command(line)
            yield from getattr(self, f"_do_{name}")(value)
        else:
            yield from self._begin(line.removeprefix(":"), 0)
            yield from self._write()

    def _begin(self, prompt: str | None, sample: int) -> Iterator[Event]:
        """Begin a text from the initial state: with a prompt, or as texts without one begin."""
        start = opening(self.model) if prompt is None else None
        known = start.text if start else (yield from self._known(prompt or ""))
        cleaned, ids = self.model.with_unknown(self._policy).encode(known, "prompt")
        shown = start.shown if start else cleaned
        progress = self._session.begin(ids, range(sample, sample + 1))
        self._text = TextInProgress(progress, self.seed).with_more(shown, progress)
        self._is_prompted, self._sample = prompt is not None, sample
        if prompt is None:
            self._num_unprompted += 1
        else:
            self._prompt = prompt
        yield Repeated(shown)

    def _go_on(self) -> Iterator[Event]:
        if self._text is None or self._text.is_whole:
            yield from self._begin(None, self._num_unprompted)
        else:
            yield Repeated(self._text.end, is_end=True)
        yield from self._write()

    def _write(self) -> Iterator[Event]:
        """Write until the length is reached, or an item ends."""
        assert self._text is not None
        text, vocabulary, end = self._text, self.model.checkpoint.vocabulary, self.model.end
        length = most_characters(self.model, self.length)
        pieces = self._session.write(
            text.progress, length=length, seed=text.seed, filters=self.filters, at_once=PIECE_CHARS
        )
        for ids, progress in pieces:
            piece = vocabulary.decode(ids[:, 0].tolist())
            before, ended, _ = (piece, "", "") if end is None else piece.partition(end)
            self._text = text = text.with_more(before, progress, is_whole=bool(ended))
            yield Written(before)
            if ended:
                return

    def _choose(self, number: int) -> Iterator[Event]:
        assert self._text is not None
        if not 1 <= number <= len(self._choices):
            raise ConfigError(f"a digit from 1 to {len(self._choices)} takes a character; an empty line goes on")
        character = self._choices[number - 1].character
        progress = self._session.read(self._text.progress, self.model.checkpoint.vocabulary.encode(character))
        if character == self.model.end:
            self._text, self._choices = replace(self._text, is_whole=True), ()
            yield Note(f"{self._text.shown}\nthe item ends here; an empty line writes another")
            return
        self._text = self._text.with_more(character, progress)
        yield self._expected(self._text)

    def _expected(self, text: TextInProgress) -> Choices:
        vocabulary = self.model.checkpoint.vocabulary
        # The unknown symbol is never written.
        ranked = rank_logits(self._session.logits(text.progress)[0], vocabulary, top=NUM_CHOICES + 1)
        self._choices = tuple(each for each in ranked if not each.is_unknown)[:NUM_CHOICES]
        return Choices(text.shown, self._choices)

    def _known(self, typed: str) -> Generator[Event, None, str]:
        """Return a text in the form that the model knows, and name what it does not know, each character once."""
        matched, vocabulary = self.model.matched(typed), self.model.checkpoint.vocabulary
        new = [each for each in dict.fromkeys(matched.text) if each not in {*vocabulary.characters, *self._named}]
        self._named.update(new)
        if matched.form is not None and matched.form not in self._named:
            self._named.add(matched.form)
            yield Note(f"{matched.told('the text')}")
        if new:
            yield Note(unknown_note(new, vocabulary, is_replaced=self._policy == "replace"))
        return matched.text

    @property
    def _policy(self) -> UnknownPolicy:
        policy = self.model.checkpoint.vocabulary.policy(self.model.checkpoint.settings.corpus.unknown)
        return "skip" if policy == "error" else policy

    @property
    def _told_length(self) -> str:
        return f"length {most_characters(self.model, self.length):,}"

    def _do_t(self, value: str) -> Iterator[Event]:
        self.filters = replace(self.filters, temperature=read_temperature(value))
        yield Note(f"temperature {self.filters.temperature:g}")

    def _do_length(self, value: str) -> Iterator[Event]:
        self.length = read_length(value)
        yield Note(self._told_length)

    def _do_seed(self, value: str) -> Iterator[Event]:
        self.seed = read_seed(value)
        self._restart()
        yield Note(f"seed {self.seed}" + ("" if self._text is None else ", from the next text on"))

    def _do_again(self, _: str) -> Iterator[Event]:
        if self._text is None and self._prompt is None:
            raise ConfigError("nothing was written yet: type a prompt, or an empty line")
        prompt = self._prompt if self._is_prompted else None
        yield from self._begin(prompt, self._num_unprompted if prompt is None else self._sample + 1)
        yield from self._write()

    def _do_top(self, _: str) -> Iterator[Event]:
        refuse_leaky(self.model)
        if self._text is None or self._text.is_whole:
            for event in self._begin(None, self._num_unprompted):
                if not isinstance(event, Repeated):
                    yield event
        assert self._text is not None
        yield self._expected(self._text)

    def _do_surprise(self, value: str) -> Iterator[Event]:
        typed = value or self._prompt
        if typed is None:
            raise ConfigError("there is no prompt yet: type one, or :surprise TEXT")
        text = yield from self._known(typed)
        read = read_scored_text(self.model, text, unknown=self._policy, warn=False)
        has_cloze = self.model.direction == "bidirectional"
        yield Surprise(self.model.subject, tuple(score(self.model, read)), len(read.unknown), has_cloze)

    def _do_run(self, value: str) -> Iterator[Event]:
        self._take(self._open_other(value))
        yield Note(self.settings)

    def _do_save(self, value: str) -> Iterator[Event]:
        content = "".join(self._transcript[:-1])
        try:
            path = Path(value).expanduser()
        except RuntimeError as error:
            raise ConfigError(f"the folder of '{printable(value)}' is unknown: there is no such user") from error
        if "\0" in value:
            raise ConfigError("the name of a file cannot contain the character zero")
        if os.path.lexists(path):
            raise ConfigError(f"{printable(str(path))} exists already: name a new file")
        replace_file(path, content.encode("utf-8", "backslashreplace"))
        yield Note(f"saved in {path}")

    def _do_help(self, _: str) -> Iterator[Event]:
        yield Help(self.settings)

    def _do_quit(self, _: str) -> Iterator[Event]:
        self.is_over = True
        yield from ()


def completions(line: str) -> list[str]:
    """Return the commands that a line may become.

    Example:
        >>> completions(":s")
        [':save ', ':seed ', ':surprise ']
    """
    commands = sorted(f":{name} " if command.value else f":{name}" for name, command in NAMES.items())
    return [command for command in commands if line.startswith(":") and command.startswith(line)]
