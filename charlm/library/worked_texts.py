"""Choose the short text that a worked step reads: the beginning of the validation split, if the corpus is there."""

from __future__ import annotations

import numpy as np

from charlm.errors import ConfigError, TextError
from charlm.generation.filters import PLAIN
from charlm.insight.worked_records import Passage
from charlm.library.measured_texts import read_parts
from charlm.library.models import Model
from charlm.library.openings import opening
from charlm.text.items import item_places
from charlm.text.reading_order import turned
from charlm.text.splits import Part, Split
from charlm.text.vocabulary import Ids

CONTEXT, SHOWN = 32, 12


def splits_or_none(model: Model) -> Split | None:
    """Return the splits of a run's corpus in reading order; None if the corpus is gone or has changed."""
    try:
        return read_parts(model)
    except TextError:
        return None


def choose_passage(model: Model, splits: Split | None) -> Passage:
    """Return the passage that a model's worked steps read; of items, one item from its begin.

    Args:
        model: a model that predicts one character after another.
        splits: the splits of its corpus; without them, the model writes the passage itself.
    """
    where = "end" if model.direction == "backward" else "beginning"
    if splits is None:
        reason = "because its corpus is not there as it was in training"
        return _passage(model, _written(model), f"a text that the model wrote itself, {reason}")
    part, name = (splits.train, "training") if splits.val is None else (splits.val, "validation")
    if part.boundary is None:
        return _passage(model, part.ids[: CONTEXT + SHOWN], f"the {where} of its {name} text")
    return _passage(model, _item(part, part.boundary), f"an item of its {name} split, from its {where}")


def _item(part: Part, boundary: int) -> Ids:
    """Return the first item that is long enough, or else the longest, with the boundary before it."""
    places, lengths = item_places(part.ids, boundary)
    enough = np.minimum(lengths, SHOWN)
    first = int(places[enough.argmax()])
    return part.ids[first : first + int(enough.max()) + 1]


def _written(model: Model) -> Ids:
    """Return ids that the model draws from its own distribution, in reading order."""
    try:
        begin = opening(model)
        prefix, suffix = begin.prefix, begin.suffix
    except ConfigError:
        # Nothing says how its texts begin.
        prefix = suffix = model.checkpoint.vocabulary.characters[0]
        prefix, suffix = (None, suffix) if model.direction == "backward" else (prefix, None)
    (text,) = model.generate(prefix, suffix=suffix, length=CONTEXT + SHOWN, filters=PLAIN)
    vocabulary = model.checkpoint.vocabulary
    ids = turned(vocabulary.encode(text), model.direction)
    if model.boundary is None:
        return ids[: CONTEXT + SHOWN]
    end = np.array([model.boundary], ids.dtype)
    return np.concatenate([end, ids, end])[: SHOWN + 1]


def _passage(model: Model, ids: Ids, source: str) -> Passage:
    characters = tuple(model.checkpoint.vocabulary.decode(ids))
    return Passage(tuple(ids.tolist()), characters, max(1, len(ids) - SHOWN), source)
