"""The format of a checkpoint, by number, and how an older one becomes today's.

1. The first.
2. state.json also tells until which step the records go, the seconds trained, the last step's learning rate and
   gradient norm, what was skipped and rolled back, and what the run computes with and on which text: all that an exact
   resume needs.
3. The progress also counts the weights' average, and training.safetensors has the raw weights where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

FORMAT = 3
FACT_NAME = re.compile("[a-z0-9_]{1,40}")
MAX_FACTS = 40
MAX_FACT = 2_000
State = Mapping[str, Any]


def migrate_state(state: State, number: int) -> State:
    """Return a checkpoint's state as today's format has it.

    Args:
        state: the content of its state.json.
        number: of the format that it was written in.
    Raises:
        KeyError: for a state that is not what the format says.
    """
    for older in range(number, FORMAT):
        state = MIGRATIONS[older](state)
    return state


def wrong_key(state: State) -> str | None:
    """Return the first key of a state of today's format whose value cannot be what was saved, or None.

    Args:
        state: JSON values; what stands in `progress` is for the training loop to check.
    """
    return next((key for key, is_right in CHECKS.items() if key not in state or not is_right(state[key])), None)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_figure(value: Any) -> bool:
    return type(value) in (int, float) and value >= 0


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_split(value: Any) -> bool:
    parts = cast("dict[str, Any]", value) if isinstance(value, dict) else {"": None}
    return {"train"} <= set(parts) <= {"train", "val", "test"} and all(_is_part(part) for part in parts.values())


def _is_part(value: Any) -> bool:
    part = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    return set(part) == {"chars", "sha256"} and _is_count(part["chars"]) and _is_sha256(part["sha256"])


def _is_fingerprint(value: Any) -> bool:
    """Say whether a value is a few short facts: they are shown where two differ."""
    facts = cast("dict[str, Any]", value) if isinstance(value, dict) else {"": value}
    return len(facts) <= MAX_FACTS and all(
        FACT_NAME.fullmatch(name) and (fact is None or isinstance(fact, bool | int | float) or _is_short_text(fact))
        for name, fact in facts.items()
    )


def _is_short_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_FACT and value.isprintable()


def _or_nothing(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _from_1_to_2(state: State) -> State:
    done: State = state["progress"]
    progress: State = {"learning_rate": 0.0, "gradient_norm": 0.0, "num_skipped": 0, "num_rollbacks": 0, **done}
    return {
        **state,
        "progress": progress,
        "recorded_until": state["step"],
        "seconds": progress["whole"]["seconds"],
        "fingerprint": None,
        "corpus_sha256": None,
        "split": None,
    }


def _from_2_to_3(state: State) -> State:
    done: State = state["progress"]
    none_yet: State = {"num_averaged": 0, "is_averaging": False, "val_to_beat": None, "recent_vals": []}
    return {**state, "progress": {**none_yet, **done}}


MIGRATIONS: Mapping[int, Callable[[State], State]] = {1: _from_1_to_2, 2: _from_2_to_3}
CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "step": _is_count,
    "val_nats_per_char": _or_nothing(_is_figure),
    "progress": lambda value: isinstance(value, dict),
    "recorded_until": _is_count,
    "seconds": _is_figure,
    "fingerprint": _or_nothing(_is_fingerprint),
    "corpus_sha256": _or_nothing(_is_sha256),
    "split": _or_nothing(_is_split),
}
