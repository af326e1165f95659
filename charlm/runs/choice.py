"""How much validation it takes to choose by: between checkpoints, between trials, and when to stop."""

from __future__ import annotations

from collections.abc import Iterator

from charlm.runs.facts import SplitFacts
from charlm.settings.schema import Settings

# A character costs 1 to 2 nats, give or take 1.4 or so: the mean of 50 is off by a fifth of a nat, a tenth of itself,
# and which of several models is lowest on fewer is chance.
MIN_CHOICE_CHARS = 50


def is_enough(num_chars: int) -> bool:
    """Say whether so many predicted characters tell which of several models is better."""
    return num_chars >= MIN_CHOICE_CHARS


def choice_chars(settings: Settings, split: SplitFacts | None) -> int | None:
    """Return how many characters of validation each evaluation predicts; None without a validation part.

    Args:
        settings: of the run.
        split: the parts of its corpus; None where that was not recorded.
    """
    if split is None or split.val is None:
        return None
    # The first character is not predicted.
    return min(split.val.chars, settings.eval.max_chars) - 1


def choice_warnings(settings: Settings, split: SplitFacts | None) -> Iterator[str]:
    """Yield a sentence on each choice that a run would make by too few characters of validation."""
    num_chars = choice_chars(settings, split)
    if num_chars is None or is_enough(num_chars):
        return
    yield (
        f"validation is {num_chars:,} predicted character{'' if num_chars == 1 else 's'} and a choice takes "
        f"{MIN_CHOICE_CHARS}: the last checkpoint stands in for the best; give more text, or more of it to validation "
        "(corpus.split, eval.max_chars)"
    )
    for key, value in settings.validation_listeners:
        yield f"{key} {value}listens to {num_chars:,} predicted characters of validation, and acts on chance"
