"""Read `--seed N` and `--seed random`."""

from __future__ import annotations

import secrets

import typer

from charlm.cli.arguments import shown
from charlm.errors import ConfigError
from charlm.settings.values import MAX_SEED

# Short enough to type again.
DRAWN_BELOW = 10**9


def draw_seed(use: str | None) -> int:
    """Draw a random seed and print it with `use`, which says what it repeats; None prints nothing."""
    seed = secrets.randbelow(DRAWN_BELOW)
    if use is not None:
        typer.echo(f"charlm: the random seed is {seed}; --seed {seed} {use}", err=True)
    return seed


def read_seed(text: str) -> int:
    """Return a random seed as a number; for `random`, draw one and print it on standard error.

    Raises:
        ConfigError: for anything else.
    """
    if text == "random":
        return draw_seed("writes the same text again")
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"--seed must be random or a whole number from 0 to {MAX_SEED}, got {shown(text)}")
    return seed
