"""Checkpoints: a model and everything needed to resume its training, saved durably and read as untrusted data."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from charlm.errors import CharlmWarning, RunError
from charlm.runs.choice import MIN_CHOICE_CHARS, choice_chars, is_enough
from charlm.runs.contents import (
    MAX_CONFIG_BYTES,
    MAX_VOCABULARY_BYTES,
    parse_settings,
    parse_vocabulary,
    symbols_of,
)
from charlm.runs.durable import ASIDE, write_folder
from charlm.runs.ensembles import refuse_ensemble
from charlm.runs.facts import Fingerprint, SplitFacts
from charlm.runs.formats import migrate_state
from charlm.runs.json_records import (
    Amount,
    Count,
    Record,
    Sha256,
    as_object,
    from_json,
    json_file,
)
from charlm.runs.run import Run
from charlm.runs.tensors import MODEL_FILE, TRAINING_FILE, Array, read_tensors, save_tensors
from charlm.runs.untrusted import Folder, open_folder, parse_json
from charlm.settings.loading import dump_settings
from charlm.settings.schema import Settings
from charlm.text.vocabulary import Vocabulary

FILES = (MODEL_FILE, TRAINING_FILE, "state.json", "vocabulary.json", "config.yaml")
MAX_STATE_BYTES = 1 << 20
Choice = Literal["best", "last"] | int


@dataclass(frozen=True, eq=False, kw_only=True)
class CheckpointState(Record):
    """The content of state.json: how far the run had come, and with which text and machine.

    Args:
        val_nats_per_char: the validation result of these weights, which decides which checkpoint is best; None if no
            evaluation was scheduled for this step.
        progress: the counts, which the training loop checks.
        recorded_until: the step up to which all evaluations and samples that were due have been recorded.
        seconds: training time so far, evaluations included.
        fingerprint: what the exact bits depend on besides settings and text; None if the format did not record it,
            like the two below.
        corpus_sha256: SHA-256 of the text.
        split: the splits of the text.
        step: optimiser steps taken.
    """

    val_nats_per_char: Amount | None
    progress: Mapping[str, JsonValue]
    recorded_until: Count
    seconds: Amount
    fingerprint: Fingerprint | None
    corpus_sha256: Sha256 | None
    split: SplitFacts | None
    step: Count


@dataclass(frozen=True)
class Checkpoint:
    """The content of one checkpoint.

    Args:
        step: optimiser steps taken.
        settings: the run's resolved configuration.
        vocabulary: the run's symbols.
        model: the network's parameters by name.
        training: optimiser moments and the carried state by name; only training needs them.
        state: counts and results.
    """

    step: int
    settings: Settings
    vocabulary: Vocabulary
    model: Mapping[str, Array]
    training: Mapping[str, Array]
    state: CheckpointState


def write_checkpoint(run: Run, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint and read it back; an existing one of the same step is replaced.

    Raises:
        StorageError: if it cannot be written; earlier checkpoints stay.
        RunError: if the disk returns other bytes than were written.
    """
    target = run.checkpoints_folder / f"step-{checkpoint.step:08d}"
    write_folder(
        target,
        {
            MODEL_FILE: save_tensors(checkpoint.model),
            TRAINING_FILE: save_tensors(checkpoint.training),
            "state.json": json_file({**checkpoint.state, "step": checkpoint.step}),
            "vocabulary.json": json_file(symbols_of(checkpoint.vocabulary)),
            "config.yaml": dump_settings(checkpoint.settings).encode("utf-8"),
        },
    )
    folder = open_folder(target, FILES)
    for name, entry in folder.entries.items():
        folder.read(name, at_most=entry.bytes)
    return target


def load_checkpoint(run: Run, choice: Choice = "best") -> Checkpoint:
    """Load the best or last checkpoint of a run, or the one of a step.

    The best has the lowest validation result, and is the earliest of equals; without any result the last counts as the
    best. A damaged checkpoint is passed over with a `CharlmWarning` that says which and why, unless it was chosen by
    its step. Another warning says if an older charlm has chosen the best by too few characters.

    Raises:
        RunError: if there is no checkpoint, or no undamaged one.
    """
    paths = run.checkpoint_paths()
    if not paths:
        refuse_ensemble(run)
        raise RunError(f"the run {run.path} has no checkpoint yet")
    if isinstance(choice, int):
        return read_checkpoint(_of_step(run, paths, choice))
    damages: list[str] = []
    if choice == "last":
        ordered = paths[::-1]
    else:
        known, unknown = by_figure(paths)
        # Any of the unreadable ones may have been the best, so each is warned about.
        ordered = unknown + known
    for path in ordered:
        try:
            checkpoint = read_checkpoint(path)
        except RunError as error:
            damages.append(str(error))
            continue
        for damage in damages:
            warnings.warn(f"{damage}; step {checkpoint.step:,} is used instead", CharlmWarning, stacklevel=2)
        if choice == "best" and path != paths[-1]:
            _tell_of_chance(checkpoint, last=step_of(paths[-1]))
        return checkpoint
    raise RunError(f"the run {run.path} has no undamaged checkpoint: {'; '.join(damages)}")


def best_first(paths: Sequence[Path]) -> list[Path]:
    """Return checkpoints by their validation results, lowest first; then those without a result, newest first."""
    known, unknown = by_figure(paths)
    return known + unknown


def are_measured(paths: Sequence[Path]) -> bool:
    """Say whether any of these checkpoints has a validation result."""
    return any(isinstance(figure, float) for figure in map(_figure_of, paths))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the folder of a checkpoint.

    Raises:
        RunError: if it is missing, damaged or too new, or does not fit its configuration.
    """
    folder = open_folder(path, FILES)
    settings = parse_settings(folder.read("config.yaml", at_most=MAX_CONFIG_BYTES), path / "config.yaml")
    symbols = folder.read("vocabulary.json", at_most=MAX_VOCABULARY_BYTES)
    vocabulary = parse_vocabulary(symbols, path / "vocabulary.json")
    state = _read_state(folder)
    if path.name.removesuffix(ASIDE) != f"step-{state.step:08d}":
        raise RunError(f"{path} contains the checkpoint of step {state.step}")
    model, training = read_tensors(folder, settings, len(vocabulary), step=state.step)
    return Checkpoint(state.step, settings, vocabulary, model, training, state)


def step_of(path: Path) -> int:
    """Return the step in the name of a checkpoint's folder."""
    return int(path.name.removeprefix("step-").removesuffix(ASIDE))


def _of_step(run: Run, paths: Sequence[Path], step: int) -> Path:
    for path in paths[::-1]:
        if step_of(path) == step:
            return path
    steps = ", ".join(str(step_of(path)) for path in paths)
    raise RunError(f"the run {run.path} has no checkpoint of step {step}; it has steps {steps}")


def by_figure(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the checkpoints whose state can be read, best first, and those whose state cannot."""
    measured: list[tuple[float, Path]] = []
    unmeasured: list[Path] = []
    unknown: list[Path] = []
    for path in paths:
        figure = _figure_of(path)
        if isinstance(figure, RunError):
            unknown.append(path)
        elif figure is None:
            unmeasured.append(path)
        else:
            measured.append((figure, path))
    return [path for _, path in sorted(measured, key=lambda pair: pair[0])] + unmeasured[::-1], unknown[::-1]


def _figure_of(path: Path) -> float | RunError | None:
    """Return a checkpoint's validation result, None if it has none, or the error if its state cannot be read."""
    try:
        return _read_state(open_folder(path, FILES)).val_nats_per_char
    except RunError as error:
        return error


def _tell_of_chance(checkpoint: Checkpoint, *, last: int) -> None:
    num_chars = choice_chars(checkpoint.settings, checkpoint.state.split)
    if num_chars is not None and not is_enough(num_chars):
        warnings.warn(
            f"the best checkpoint, step {checkpoint.step:,}, was chosen by {num_chars:,} predicted characters of "
            f"validation, and a choice needs {MIN_CHOICE_CHARS}: --checkpoint last uses step {last:,}",
            CharlmWarning,
            stacklevel=3,
        )


def _read_state(folder: Folder) -> CheckpointState:
    path = folder.path / "state.json"
    state = as_object(parse_json(folder.read("state.json", at_most=MAX_STATE_BYTES), path))
    try:
        return from_json(CheckpointState, migrate_state(state, folder.format))
    except ValueError as error:
        raise RunError(f"{path} is not a checkpoint's state: {error}") from error
