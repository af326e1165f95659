"""Which networks `charlm inspect` looks into, and which text they read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from charlm.errors import CharlmError, CharlmWarning, ConfigError
from charlm.library.measured_texts import choose_predictable_text, read_parts
from charlm.library.models import Model, open_run
from charlm.library.named_runs import RunName, runs_of
from charlm.library.networks import Networks
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.building import build_model
from charlm.networks.language_model import CharLM
from charlm.runs.checkpoints import Choice
from charlm.runs.restoring import to_arrays
from charlm.runs.run import runs_folder
from charlm.settings.corpus import UnknownPolicy
from charlm.text.items import first_items
from charlm.text.splits import Part

MAX_CHARS = 20_000
START = "start"
SPLITS = {"val": "validation", "test": "test", "train": "training"}


@dataclass(frozen=True)
class InspectedText:
    """A text that a network reads.

    Args:
        name: what it is called, such as `the validation split`.
        part: its ids in the network's reading order.
        known: the training split of the run; None if it is not available, or if it is what is read.
    """

    name: str
    part: Part
    known: Part | None


def inspected_models(
    runs: Sequence[RunName], checkpoint: Choice | str | Sequence[Choice | str], runs_dir: str | Path | None
) -> Iterator[Model]:
    """Open the chosen checkpoints of runs.

    Args:
        runs: runs, sweeps or exported files, or their names or paths; without any, the newest run.
        checkpoint: best, last, the number of a step, or `start` for the network before its training; or several.
        runs_dir: the folder of runs; None takes CHARLM_RUNS_DIR or ./runs.
    Raises:
        ConfigError: for a checkpoint of another name, a leaky model, and for `start` where training began with the
            weights of another run.
        RunError: for a run or a checkpoint that is missing.
    """
    choices = [checkpoint] if isinstance(checkpoint, str | int) else checkpoint
    seen: set[tuple[Path, Choice | str]] = set()
    for name in runs_of(runs, runs_folder(runs_dir)) if runs else [None]:
        for choice in choices:
            if isinstance(choice, str) and choice not in ("best", "last", START):
                raise ConfigError(f"a checkpoint is best, last, start or the number of a step, not {choice!r}")
            chosen: Any = "last" if choice == START else choice
            model = open_run(name, checkpoint=chosen, runs_dir=runs_dir)
            if model.direction == "leaky":
                raise ConfigError(
                    f"the model of run {model.run.name} is leaky: its layers have read the character that they "
                    "predict, so that nothing inside them is a memory"
                )
            # What is named twice counts once.
            if (place := (model.run.path.resolve(), choice)) not in seen:
                seen.add(place)
                yield _untrained(model) if choice == START else model


def _untrained(model: Model) -> Model:
    """Return a model with the weights that its training began with, which its settings and seed decide."""
    checkpoint = model.checkpoint
    if checkpoint.settings.start.run is not None:
        raise ConfigError(
            f"the run {model.run.name} began with the weights of {checkpoint.settings.start.run}: inspect that run"
        )
    # Every implementation begins with the same weights.
    settings = checkpoint.settings.model.replaced({"implementation": "auto"})
    network = build_model(settings, len(checkpoint.vocabulary), seed=checkpoint.settings.train.seed)
    fresh = replace(checkpoint, step=0, model=to_arrays(network.state_dict()))
    return replace(model, checkpoint=fresh, networks=Networks(fresh, "cpu"))


def names_of_models(models: Sequence[Model]) -> list[str]:
    """Return the name of each model's run or file, or its path where several have the same name."""
    names = [model.run.name for model in models]
    places = {(model.run.name, model.run.path.resolve()) for model in models}
    paths = [str(model.run.path) for model in models]
    return [
        path if sum(name == other for other, _ in places) > 1 else name for name, path in zip(names, paths, strict=True)
    ]


def causal_network(model: Model) -> tuple[CharLM, str | None]:
    """Return the network that reads a text in one direction, and its name if it is a half of a bidirectional model."""
    network = model.network
    if isinstance(network, BidirectionalLM):
        return network.forward_half, "forward half"
    assert isinstance(network, CharLM)
    return network, None


def inspected_text(
    model: Model,
    *,
    split: str | None,
    files: Sequence[str | Path],
    unknown: UnknownPolicy | None,
    max_chars: int,
    is_needed: bool = False,
) -> InspectedText | None:
    """Return the beginning of the text that a model is to read.

    Args:
        model: the model.
        split: train, val or test; None takes the validation split, or else the test split, or else the training split.
        files: texts to read in place of a split.
        unknown: what to do with characters in them that the model does not know; see `score`.
        is_needed: whether nothing can be shown without a text.
        max_chars: how many characters are read at most; of items, as many whole ones as fit.
    Returns:
        The text; None, with a warning, if none was named and the run's own is gone or has changed.
    Raises:
        TextError: for a text that was named and cannot be read.
    """
    try:
        parts = read_parts(model)
    except CharlmError as error:
        if split or (is_needed and not files):
            raise
        parts = None
        if not files:
            message = f"{model.run.name}: only what needs no text is measured: {error}"
            warnings.warn(message, CharlmWarning, stacklevel=3)
            return None
    chosen = split or next(name for name in SPLITS if parts is None or parts.part(name))
    part = choose_predictable_text(model, chosen, files, unknown=unknown, parts=parts)
    ids = part.ids[:max_chars] if part.boundary is None else first_items(part.ids, part.boundary, max_chars)
    is_known = not files and chosen == "train"
    return InspectedText(
        ", ".join(map(str, files)) or f"the {SPLITS[chosen]} split",
        replace(part, ids=ids),
        parts.train if parts and not is_known else None,
    )
