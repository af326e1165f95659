"""A run's position: everything that is needed to resume it, how a checkpoint stores it and how it is restored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from pydantic import JsonValue, TypeAdapter, ValidationError
from torch import Tensor

from charlm.errors import RunError
from charlm.networks.recurrent import State, detach_state
from charlm.runs.checkpoints import Checkpoint, CheckpointState
from charlm.runs.json_records import to_json
from charlm.runs.restoring import to_arrays, to_tensors
from charlm.training.experiment import Experiment
from charlm.training.progress import Progress


@dataclass(frozen=True)
class Position:
    """Where a run is.

    Everything else that a step depends on is a function of the configuration and the step: (seed, epoch) fixes the
    order of the windows, (seed, step) fixes dropout and samples, and the step fixes the learning rate. No random
    generator has a state that could be lost.

    Args:
        progress: the counts.
        state: the recurrent state from which the next window starts.
        recorded_until: the step up to which all evaluations and samples that were due have been recorded.
        seconds: training time so far, over all of the run's processes, including evaluations.
        val_nats_per_char: validation loss of exactly these weights, if it was measured.
    """

    progress: Progress
    state: State
    recorded_until: int = 0
    seconds: float = 0.0
    val_nats_per_char: float | None = None


def first_position(experiment: Experiment) -> Position:
    """Return the position of a new run."""
    state = experiment.network.initial_state(experiment.settings.sampling.batch_size)
    return Position(Progress(), detach_state(state))


def to_checkpoint(experiment: Experiment, position: Position) -> Checkpoint:
    """Return the checkpoint from which a position can be restored."""
    moments = experiment.optimizer.state_dict()["state"]
    training: dict[str, Tensor] = {
        f"optimizer.{index}.{name}": value
        for index, slot in moments.items()
        for name, value in slot.items()
        if isinstance(value, Tensor)
    }
    training |= {f"state.{number}": part for number, part in enumerate(position.state)}
    if experiment.average:
        # In this case model.safetensors holds the average, and training resumes from these weights.
        training |= {f"weights.{name}": weight for name, weight in experiment.network.state_dict().items()}
    return Checkpoint(
        step=position.progress.step,
        settings=experiment.timetable.recorded,
        vocabulary=experiment.vocabulary,
        model=to_arrays(experiment.model.state_dict()),
        training=to_arrays(training),
        state=CheckpointState(
            val_nats_per_char=position.val_nats_per_char,
            progress=to_json(position.progress),
            recorded_until=position.recorded_until,
            seconds=position.seconds,
            fingerprint=experiment.fingerprint,
            corpus_sha256=experiment.facts.corpus_sha256,
            split=experiment.facts.split,
            step=position.progress.step,
        ),
    )


def restore_position(experiment: Experiment, checkpoint: Checkpoint) -> Position:
    """Load a checkpoint's weights and moments into an experiment, and return the checkpoint's position.

    Raises:
        RunError: if the checkpoint's counts cannot be those of its run.
    """
    position = read_position(checkpoint)
    progress = position.progress
    if (progress.epoch, progress.epoch_step) != divmod(progress.step, experiment.resolved.steps_per_epoch):
        raise RunError(f"the epochs that the checkpoint of step {checkpoint.step} counts do not fit its run")
    network, optimizer = experiment.network, experiment.optimizer
    weights: dict[str, Tensor] = {}
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in to_tensors(checkpoint.training).items():
        kind, _, name = key.partition(".")
        if kind == "weights":
            weights[name] = value
        if kind == "optimizer":
            index, _, moment = name.partition(".")
            moments.setdefault(int(index), {})[moment] = value.clone()
    saved = to_tensors(checkpoint.model)
    network.load_state_dict(weights or saved)
    if experiment.average:
        experiment.average.restore(saved, progress.num_averaged)
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    device = next(network.parameters()).device
    # Clone, as above: a file's bytes can have any alignment, and torch's own memory has the one it had before.
    return replace(position, state=tuple(part.to(device).clone() for part in position.state))


def read_position(checkpoint: Checkpoint) -> Position:
    """Return the position that a checkpoint stores.

    Raises:
        RunError: if its counts cannot be those of a run.
    """
    saved = checkpoint.state
    progress = _read_progress(saved.progress)
    if progress is None or progress.step != checkpoint.step or saved.recorded_until > progress.step:
        raise RunError(f"the checkpoint of step {checkpoint.step} does not say how far its run had come")
    parts = [name for name in checkpoint.training if name.startswith("state.")]
    state = tuple(torch.from_numpy(checkpoint.training[f"state.{number}"]) for number in range(len(parts)))
    return Position(progress, state, saved.recorded_until, saved.seconds, saved.val_nats_per_char)


def are_weights_finite(experiment: Experiment) -> bool:
    """Say whether every weight is a number."""
    networks = {experiment.network, experiment.model}
    weights = [weight.detach() for network in networks for weight in network.parameters()]
    return bool(torch.stack([weight.isfinite().all() for weight in weights]).all())


def _read_progress(value: Mapping[str, JsonValue]) -> Progress | None:
    """Return the counts, or None if one has the wrong type or is negative."""
    try:
        progress = TypeAdapter(Progress).validate_json(json.dumps(value), strict=True)
    except ValidationError:
        return None
    return None if any(isinstance(count, int) and count < 0 for count in vars(progress).values()) else progress
