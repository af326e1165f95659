"""Write items that are neither in the list that a model was trained on nor written before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from charlm.errors import CharlmError, ConfigError
from charlm.generation.filters import CALM, Filters
from charlm.library.measured_texts import OTHER_ADVICE
from charlm.library.models import Model, opened
from charlm.library.writing import most_characters, write_texts
from charlm.runs.run import Run
from charlm.runs.texts import read_split

# A model that has learned a short list by heart finds few new items, however often it tries.
TRIES_EACH, FEWEST_TRIES = 100, 1_000


@dataclass(frozen=True)
class NewItem:
    """An item that is not in the list.

    Args:
        text: the item.
        tries: how many items had been written when it was found, itself included.
    """

    text: str
    tries: int


def new_items(
    model: Model | Run | str | Path,
    prefix: str | None = None,
    *,
    num_items: int = 20,
    length: int | None = None,
    seed: int = 0,
    filters: Filters = CALM,
) -> list[str]:
    """Return items that are neither in the list that a model was trained on, whatever the split, nor twice.

    The list is read from the corpus of the run. Of the items that `generate` would write, those that are new are kept,
    in the same order. The search ends after 100 tries for each item asked for, and after 1,000 at the earliest, so that
    there may be fewer.

    Args:
        model: a model of items from `open_run`, or a run or its name, of which the best checkpoint is used.
        prefix: how the items begin.
        num_items: how many are wanted.
        length: the most characters of an item after the prefix; items that are cut off there are left out. None means
            10,000.
        seed: the random seed for sampling.
        filters: how the distribution is sharpened and truncated.
    Raises:
        ConfigError: for a model of running text.
        TextError: where the corpus of the run is gone or has changed, and for a prefix the model does not know.

    Example:
        >>> found = charlm.new_items("list", num_items=3)
        >>> len(found) == len(set(found)) <= 3
        True
    """
    found = find_new_items(opened(model), prefix, num_items=num_items, length=length, seed=seed, filters=filters)
    return [item.text for item in found]


def find_new_items(
    model: Model,
    prefix: str | None = None,
    *,
    suffix: str | None = None,
    num_items: int,
    length: int | None,
    seed: int,
    filters: Filters,
) -> Iterator[NewItem]:
    """Yield the items of `new_items` as they are found; a backward model's end with a suffix."""
    known, most = known_items(model), most_characters(model, length)
    texts = write_texts(
        model,
        prefix,
        suffix=suffix,
        length=most,
        num_samples=max_tries(num_items),
        seed=seed,
        filters=filters,
        stops=(),
        passes=0,
    )
    given, num_found = len(prefix or suffix or ""), 0
    for tries, text in enumerate(texts, 1):
        is_cut = len(text) - given >= most
        if text.strip() and not is_cut and text not in known:
            known.add(text)
            yield NewItem(text, tries)
            num_found += 1
            if num_found == num_items:
                return


def max_tries(num_items: int) -> int:
    """Return after how many tries the search for new items ends."""
    return max(FEWEST_TRIES, TRIES_EACH * num_items)


def known_items(model: Model) -> set[str]:
    """Return all items of the corpus that a model was trained on, those of validation and test too.

    Raises:
        ConfigError: for a model of running text.
        TextError: where the corpus is gone or has changed.
    """
    name, vocabulary = model.run.name, model.checkpoint.vocabulary
    if model.end is None:
        raise ConfigError(
            f"the run {name} has learned one running text, and only items can be new: train on a list with --lines"
        )
    try:
        split = read_split(model.run, model.checkpoint)
    except CharlmError as error:
        reason = str(error).removesuffix(OTHER_ADVICE)
        raise type(error)(f"new items need the list that the run {name} was trained on: {reason}") from error
    parts = [part for part in (split.train, split.val, split.test) if part is not None]
    return {item for part in parts for item in vocabulary.decode(part.ids).split(model.end)}
