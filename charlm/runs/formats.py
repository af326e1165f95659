"""The numbered formats of a checkpoint, and how an older one is converted to the present one.

1. The first format.
2. state.json also records up to which step the records go, the seconds trained, the last step's learning rate and
   gradient norm, the numbers of skipped steps and rollbacks, the fingerprint, and the hashes of the text and its
   splits: everything that an exact resume needs.
3. The progress also counts the average of the weights, and training.safetensors has the raw weights if there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, JsonValue

from charlm.runs.json_records import Count, Json, Record, Text, Told, as_object

FORMAT = 3


@dataclass(frozen=True, eq=False, kw_only=True)
class FileEntry(Record):
    """A file in a manifest: its number of bytes, and their SHA-256."""

    bytes: Count
    sha256: Text


@dataclass(frozen=True, eq=False, kw_only=True)
class Manifest(Record):
    """The manifest, which vouches for a checkpoint's files.

    Args:
        format: number of the format.
        charlm: the version that wrote it.
        files: the files by name; None if the manifest does not list them correctly.
    """

    format: Annotated[int, Field(strict=True, ge=1)]
    charlm: Told[Text] = None
    files: Told[Mapping[Text, FileEntry]] = None


def migrate_state(state: Json, number: int) -> Json:
    """Return a checkpoint's state in the present format; a state that is invalid in its own format stays invalid.

    Args:
        state: the content of state.json.
        number: the number of the format that it was written in.
    """
    for older in range(number, FORMAT):
        state = MIGRATIONS[older](state)
    return state


def _from_1_to_2(state: Json) -> Json:
    progress = state.get("progress")
    return {
        **state,
        "progress": _with(progress, {"learning_rate": 0.0, "gradient_norm": 0.0, "num_skipped": 0, "num_rollbacks": 0}),
        "recorded_until": state.get("step"),
        "seconds": as_object(as_object(progress).get("whole")).get("seconds"),
        "fingerprint": None,
        "corpus_sha256": None,
        "split": None,
    }


def _from_2_to_3(state: Json) -> Json:
    none_yet: Json = {"num_averaged": 0, "is_averaging": False, "val_to_beat": None, "recent_vals": []}
    return {**state, "progress": _with(state.get("progress"), none_yet)}


def _with(progress: JsonValue, added: Json) -> JsonValue:
    return {**added, **progress} if isinstance(progress, dict) else progress


MIGRATIONS: Mapping[int, Callable[[Json], Json]] = {1: _from_1_to_2, 2: _from_2_to_3}
