"""How much validation text a choice needs: between checkpoints, between trials, or of when to stop."""

from __future__ import annotations

from collections.abc import Iterator

from charlm.runs.facts import SplitFacts
from charlm.settings.schema import Settings

# A character costs 1 to 2 nats with a standard deviation of about 1.4. The mean of 50 is then uncertain by a fifth of a
# nat, a tenth of its value; with fewer characters it is chance which of several models has the lowest mean.
MIN_CHOICE_CHARS = 50


def is_enough(num_chars: int) -> bool:
    """Say whether this many predicted characters show which of several models is better."""
    return num_chars >= MIN_CHOICE_CHARS


def choice_chars(settings: Settings, split: SplitFacts | None) -> int | None:
    """Return how many characters of the validation split each evaluation predicts, or None without that split.

    Args:
        settings: the run's settings.
        split: the splits of its corpus, or None if they were not recorded.
    """
    return None if split is None or split.val is None else predicted_chars(settings, split.val.chars)


def predicted_chars(settings: Settings, num_val_chars: int) -> int:
    """Return how many characters of a validation split of this length each evaluation predicts."""
    # The first character is not predicted.
    return min(num_val_chars, settings.eval.max_chars) - 1


def choice_warnings(settings: Settings, num_chars: int | None) -> Iterator[str]:
    """Yield a sentence about each choice that a run would base on too few characters of validation.

    Args:
        settings: the run's settings.
        num_chars: how many of them each evaluation predicts; None without that split.
    """
    if num_chars is None or is_enough(num_chars):
        return
    yield (
        f"validation has only {num_chars:,} predicted character{'' if num_chars == 1 else 's'} and a choice needs "
        f"{MIN_CHOICE_CHARS}: the last checkpoint is used as the best; give more text, or more of it to validation "
        "(corpus.split, eval.max_chars)"
    )
    for key, value in settings.validation_listeners:
        yield f"{key} {value}depends on {num_chars:,} predicted characters of validation, and so on chance"
