"""Checkpoints: a model with all that goes on from it, saved durably, checked against a manifest when read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from charlm.errors import ConfigError, RunError
from charlm.networks.building import Network, build_model
from charlm.runs.durable import read_folder, remove_folder, to_json, write_folder
from charlm.runs.folder import Run
from charlm.settings.layers import check_layer, dump_settings, text_layer
from charlm.settings.schema import Settings
from charlm.text.vocabulary import Vocabulary

KEPT_LAST = 2
Choice = Literal["best", "last"] | int


@dataclass(frozen=True)
class Checkpoint:
    """What one checkpoint holds.

    Args:
        step: optimiser steps taken.
        settings: the run's resolved configuration.
        vocabulary: its symbols.
        model: the network's parameters by name.
        training: optimiser moments and the carried state, by name; nothing of it is needed to write or evaluate.
        state: counters and figures, JSON values; `val_nats_per_char` decides which checkpoint is best.
    """

    step: int
    settings: Settings
    vocabulary: Vocabulary
    model: Mapping[str, Tensor]
    training: Mapping[str, Tensor]
    state: Mapping[str, Any]


def save_checkpoint(run: Run, checkpoint: Checkpoint) -> Path:
    """Save a checkpoint, then remove those that are neither among the last two nor the best.

    Raises:
        StorageError: where it cannot be written; earlier checkpoints stay.
    """
    target = run.checkpoints_folder / f"step-{checkpoint.step:08d}"
    vocabulary = checkpoint.vocabulary
    write_folder(
        target,
        {
            "model.safetensors": save(_contiguous(checkpoint.model)),
            "training.safetensors": save(_contiguous(checkpoint.training)),
            "state.json": to_json({**checkpoint.state, "step": checkpoint.step}),
            "vocabulary.json": to_json({"characters": vocabulary.characters, "has_unknown": vocabulary.has_unknown}),
            "config.yaml": dump_settings(checkpoint.settings).encode("utf-8"),
        },
    )
    _rotate(run)
    return target


def load_checkpoint(run: Run, choice: Choice = "best") -> Checkpoint:
    """Load the best or last checkpoint of a run, or that of a step.

    Raises:
        RunError: where there is none, or it is damaged.
    """
    return read_checkpoint(checkpoint_path(run, choice))


def checkpoint_path(run: Run, choice: Choice = "best") -> Path:
    """Return where a checkpoint lies; the best has the lowest validation figure, without any it is the last.

    Raises:
        RunError: where there is none.
    """
    paths = run.checkpoint_paths()
    if not paths:
        raise RunError(f"the run {run.path} has no checkpoint yet")
    if choice == "last":
        return paths[-1]
    if choice == "best":
        return best_checkpoint(paths)
    for path in paths:
        if _step(path) == choice:
            return path
    steps = ", ".join(str(_step(path)) for path in paths)
    raise RunError(f"the run {run.path} keeps no checkpoint of step {choice}; it has steps {steps}")


def best_checkpoint(paths: list[Path]) -> Path:
    """Return the path whose checkpoint has the lowest validation figure, the earliest of equals, else the last."""
    figures = [(_validation(path), path) for path in paths]
    measured = [(figure, path) for figure, path in figures if figure is not None]
    return min(measured, key=lambda pair: pair[0])[1] if measured else paths[-1]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint's folder.

    Raises:
        RunError: where it is missing, damaged or too new.
    """
    files = read_folder(path)
    try:
        state = json.loads(files["state.json"])
        symbols = json.loads(files["vocabulary.json"])
        return Checkpoint(
            step=state["step"],
            settings=check_layer(text_layer(files["config.yaml"].decode("utf-8"), str(path / "config.yaml"))),
            vocabulary=Vocabulary(symbols["characters"], symbols["has_unknown"]),
            model=load(files["model.safetensors"]),
            training=load(files["training.safetensors"]),
            state=state,
        )
    except ConfigError as error:
        raise RunError(f"this charlm does not know the checkpoint's configuration: {error}") from error
    except (KeyError, ValueError, TypeError, SafetensorError) as error:
        raise RunError(f"{path} is not a whole checkpoint: {error}") from error


def restore_model(checkpoint: Checkpoint, *, device: torch.device | str = "cpu") -> Network:
    """Build a checkpoint's network on a device, with its weights, ready to write or evaluate.

    Raises:
        RunError: where the weights do not fit the configuration.
    """
    # Which implementation trained it is no matter here: this machine takes what it has.
    model = checkpoint.settings.model
    if model.implementation == "native":
        model = model.model_copy(update={"implementation": "auto"})
    network = build_model(model, len(checkpoint.vocabulary), seed=0, device=str(device))
    try:
        network.load_state_dict(dict(checkpoint.model))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise RunError(f"the weights of step {checkpoint.step} do not fit their configuration: {reason}") from error
    return network.to(device).eval()


def _rotate(run: Run) -> None:
    paths = run.checkpoint_paths()
    kept = {*paths[-KEPT_LAST:], best_checkpoint(paths)}
    for path in set(paths) - kept:
        remove_folder(path)


def _validation(path: Path) -> float | None:
    try:
        return json.loads((path / "state.json").read_bytes())["val_nats_per_char"]
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{path / 'state.json'} cannot be read: {error}") from error


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
