"""The commands of a conversation: their names, and what is typed after them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from charlm.errors import ConfigError, printable
from charlm.settings.nearest import did_you_mean, nearest_name
from charlm.settings.values import MAX_SEED, MAX_WRITTEN

# Short enough to type again.
DRAWN_BELOW = 10**9
MAX_DIGITS = 19


@dataclass(frozen=True)
class Command:
    """A command, as help shows it.

    Args:
        name: what follows the colon.
        value: the placeholder of its value, in brackets where it may be left out; empty if it takes none.
        meaning: what it does.
    """

    name: str
    value: str
    meaning: str

    @property
    def usage(self) -> str:
        """How it is typed."""
        return f":{self.name} {self.value}".rstrip()


COMMANDS = (
    Command("t", "T", "set the temperature; 0 always takes the likeliest character"),
    Command("length", "N", "set the most characters to write at a time"),
    Command("seed", "N", "set the random seed of the next text; :seed random draws one"),
    Command("again", "", "write the next sample of the same prompt"),
    Command("top", "", "show the five likeliest next characters; a digit takes one"),
    Command("surprise", "[TEXT]", "colour TEXT, or the last prompt, by how surprising it is"),
    Command("run", "NAME", "go over to the model of another run; the settings stay"),
    Command("save", "FILE", "save what was typed and written so far"),
    Command("help", "", "show the commands and the settings"),
    Command("quit", "", "end the conversation, like Ctrl-D; :q is short for it"),
)
NAMES = {command.name: command for command in COMMANDS}
ALIASES = {"q": "quit", "exit": "quit", "temperature": "t", "h": "help", "next": "top", "score": "surprise"}


def read_command(line: str) -> tuple[str, str]:
    """Return the name of a command and its value, an empty text for none.

    Args:
        line: what was typed, with its colon.
    Raises:
        ConfigError: for an unknown command, a value that is missing, and one that the command does not take.

    Example:
        >>> read_command(":t 0.5"), read_command(":q")
        (('t', '0.5'), ('quit', ''))
    """
    word, _, rest = line.removeprefix(":").partition(" ")
    if not word.strip():
        raise ConfigError("the name of a command is missing after the colon: :help shows them")
    name = ALIASES.get(word.lower(), word.lower())
    command = NAMES.get(name)
    if command is None:
        near = nearest_name(word, [*NAMES, *ALIASES])
        remedy = did_you_mean(near and f":{near}") or "; :help shows them, and :: begins a prompt with a colon"
        raise ConfigError(f"there is no command :{printable(word)}{remedy}")
    # A text to score may begin or end with spaces.
    value = rest if name == "surprise" else rest.strip()
    if value and not command.value:
        raise ConfigError(f":{name} stands alone, got '{printable(value)}' after it")
    if not value and command.value and not command.value.startswith("["):
        raise ConfigError(f":{name} needs a value, as in {command.usage}")
    return name, value


def read_temperature(text: str) -> float:
    """Return a temperature, which may still be out of range.

    Raises:
        ConfigError: for what is no number.
    """
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"the temperature must be a number, got '{printable(text)}'") from None


def read_length(text: str) -> int:
    """Return a number of characters.

    Raises:
        ConfigError: for anything else.
    """
    return _whole_number(text, "the length", MAX_WRITTEN)


def read_seed(text: str) -> int:
    """Return a random seed; for `random`, draw one.

    Raises:
        ConfigError: for anything else.
    """
    if text.lower() == "random":
        return secrets.randbelow(DRAWN_BELOW)
    return _whole_number(text, "the seed", MAX_SEED)


def _whole_number(text: str, what: str, largest: int) -> int:
    plain = text.replace(",", "").replace("_", "")
    number = int(plain) if plain.isdecimal() and len(plain) <= MAX_DIGITS else -1
    if not 0 <= number <= largest:
        raise ConfigError(f"{what} must be a whole number from 0 to {largest:,}, got '{printable(text)}'")
    return number
