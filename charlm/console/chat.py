"""A conversation on a terminal: lines are edited and remembered, and texts are shown while they are written."""

from __future__ import annotations

import sys
import termios
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path

from prompt_toolkit.application import get_app_session
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import CompleteStyle, PromptSession
from prompt_toolkit.utils import is_dumb_terminal
from rich.cells import cell_len

from charlm.console.chat_history import KeptHistory
from charlm.console.next_character import shown_name
from charlm.console.terminal import console_for, has_colours, shown_safely
from charlm.evaluation.next_character import NextCharacter

PROMPT = "> "
DIM, PLAIN = "\x1b[2m", "\x1b[0m"
HOW_TO_END = "Ctrl-D or :quit ends the conversation"
GAP = 2
# So that the columns of most lists are where those of the last one were.
NAME_WIDTH = len("' ' space")


class ChatScreen:
    """Read lines from a terminal, and show what answers them.

    Args:
        history: the file that keeps what was typed.
        complete: returns what a line may become.
    """

    def __init__(self, history: Path, complete: Callable[[str], Iterable[str]]) -> None:
        self._history = KeptHistory(history)
        self._is_dim = has_colours(console_for(sys.stdout))
        self._is_within_line = False
        self._session = _prompt_session(self._history, _Completer(complete))

    def read(self) -> str | None:
        """Return the next line; None once Ctrl-D has ended the conversation."""
        while True:
            if failure := self._history.take_failure():
                self.show_note(failure)
            sys.stdout.flush()
            try:
                return self._session.prompt()
            except KeyboardInterrupt:
                self.show_note(HOW_TO_END)
            except EOFError:
                return None

    @contextmanager
    def answering(self) -> Generator[None]:
        """Do not show what is typed within this context, and end the line after it."""
        with _without_echo():
            yield
            if self._is_within_line:
                self._write("\n")
            sys.stdout.flush()

    def show_repeated(self, text: str) -> None:
        """Show a text that new text is about to follow."""
        self._write(text, is_dim=True)

    def show_written(self, text: str) -> None:
        """Show a piece of new text at once."""
        self._write(text)

    def show_note(self, text: str, *, is_refusal: bool = False) -> None:
        """Show lines of charlm's own; a refusal stands out from them."""
        for line in text.split("\n"):
            self._write(f"charlm: {line}\n" if is_refusal else f"{line}\n", is_dim=not is_refusal)

    def show_choices(self, text: str, expected: Sequence[NextCharacter]) -> None:
        """Show a text so far, and the characters that a digit takes."""
        self._write(text, is_dim=True)
        names = [shown_name(each) for each in expected]
        width = max(NAME_WIDTH, *map(cell_len, names)) + GAP
        self._write("\n" if self._is_within_line else "")
        for place, (name, each) in enumerate(zip(names, expected, strict=True), 1):
            self._write(f"  {place}  {name}{' ' * (width - cell_len(name))}{each.probability:.4f}\n")

    def show_help(self, rows: Sequence[tuple[str, str]], settings: str) -> None:
        """Show what may be typed, in two columns, and the settings."""
        width = max(len(usage) for usage, _ in rows) + GAP
        for usage, meaning in rows:
            self._write(f"  {usage:<{width}}{meaning}\n")
        self.show_note(settings)

    def _write(self, text: str, *, is_dim: bool = False) -> None:
        if not text:
            return
        shown = shown_safely(text)
        sys.stdout.write(f"{DIM}{shown}{PLAIN}" if is_dim and self._is_dim else shown)
        sys.stdout.flush()
        self._is_within_line = not text.endswith("\n")


class _Completer(Completer):
    """Complete the line up to the cursor."""

    def __init__(self, complete: Callable[[str], Iterable[str]]) -> None:
        self._complete = complete

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield what the line may become."""
        del complete_event
        typed = document.text_before_cursor
        for each in self._complete(typed):
            yield Completion(each, start_position=-len(typed))


def _prompt_session(history: KeptHistory, completer: Completer) -> PromptSession[str]:
    output = get_app_session().output
    if isinstance(output, Vt100_Output):
        # Menus alone need to know where the cursor is, and not every terminal answers that question.
        output.enable_cpr = False
    return PromptSession(
        PROMPT,
        history=history,
        completer=completer,
        complete_while_typing=False,
        complete_style=CompleteStyle.READLINE_LIKE,
        enable_suspend=True,
        key_bindings=_bindings(),
        # A terminal that cannot move its cursor has a simpler prompt, which is chosen where no output is given.
        output=None if is_dumb_terminal() else output,
    )


def _bindings() -> KeyBindings:
    """Return the keys that mean something else here: an interrupt clears the line, and an empty one explains."""
    bindings = KeyBindings()

    @bindings.add("c-c", filter=has_focus(DEFAULT_BUFFER))
    @bindings.add("<sigint>", filter=has_focus(DEFAULT_BUFFER))
    def _clear(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt())

    return bindings


@contextmanager
def _without_echo() -> Generator[None]:
    """Keep the terminal from mixing what is typed ahead into a text; it is there for the next line."""
    try:
        before = termios.tcgetattr(sys.stdin)
    except (termios.error, OSError, ValueError):
        yield
        return
    silent = [*before]
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
