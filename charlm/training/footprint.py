"""The least memory that training needs, computed from sizes alone before any of it is allocated."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from charlm.errors import ConfigError
from charlm.networks.shapes import NUM_GATES, num_numbers, parameter_shapes
from charlm.runs.memory import require_room
from charlm.settings.schema import Settings

FLOAT_BYTES = 4
# The stack of each thread; a library ends the process if there is no room for it.
STACK_BYTES = 10 << 20
# The memory that a container may use; the machine it runs on can have far more.
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class TrainingSize:
    """How many float32 numbers are in memory at the worst moment of a step.

    Args:
        parameters: the parameters, their gradients and what the optimiser keeps for each of them.
        window: what a window keeps for the backward pass: gates and states of every layer, inputs, perhaps logits.
    """

    parameters: int
    window: int

    @property
    def num_bytes(self) -> int:
        """Both, in bytes."""
        return FLOAT_BYTES * (self.parameters + self.window)


def require_memory(settings: Settings, vocab_size: int, *, device: torch.device | None = None) -> None:
    """Refuse settings whose training cannot fit into memory; nothing is allocated to find out.

    The estimate is low for every implementation: it only has to stop what is far too large before the system does.

    Args:
        device: the device whose memory it must fit into; None means the CPU.
    Raises:
        ConfigError: if there is too little; it says how much is needed and available, and which settings to lower.
    """
    size = training_size(settings, vocab_size)
    # Saving copies everything that is kept, but not while a window is in memory.
    threads = settings.train.threads or 1
    require_room(FLOAT_BYTES * (size.parameters + max(size.window, 2 * size.parameters)) + STACK_BYTES * threads)
    where, available = "this machine", physical_memory()
    if device is not None and device.type == "cuda":
        where, available = f"the GPU {device}", torch.cuda.mem_get_info(device)[1]
    if available is None or size.num_bytes <= available:
        return
    keys = ["model.hidden_size", "model.num_layers"]
    if settings.model.embedding_size is not None:
        keys.append("model.embedding_size")
    if size.window > size.parameters:
        keys = ["sampling.batch_size", "sampling.seq_len", *keys]
    raise ConfigError(
        f"training takes at least {_gigabytes(size.num_bytes)} of memory ({_gigabytes(FLOAT_BYTES * size.parameters)} "
        f"for the parameters, {_gigabytes(FLOAT_BYTES * size.window)} for a window), and {where} has "
        f"{_gigabytes(available)}: lower {', '.join(keys[:-1])} or {keys[-1]}"
    )


def training_size(settings: Settings, vocab_size: int) -> TrainingSize:
    """Return how many numbers training keeps at least."""
    num_parameters = num_numbers(parameter_shapes(settings.model, vocab_size).values())
    return TrainingSize(
        # Each parameter has a gradient, the optimiser's moments and perhaps an average.
        parameters=num_parameters * (2 + _kept_by_optimizer(settings) + (settings.optimizer.average.method != "none")),
        window=_window_size(settings, vocab_size),
    )


def physical_memory() -> int | None:
    """Return how many bytes this process can have at most, or None on a system that does not say."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        return min(machine, int(CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):  # no container, or "max"
        return machine


def _kept_by_optimizer(settings: Settings) -> int:
    has_momentum = bool(settings.optimizer.momentum)
    return {"adam": 2, "adamw": 2, "sgd": 0, "rmsprop": 1}[settings.optimizer.method] + has_momentum


def _window_size(settings: Settings, vocab_size: int) -> int:
    model, sampling = settings.model, settings.sampling
    num_stacks = 2 if model.direction in ("bidirectional", "leaky") else 1
    num_readouts = 3 if model.direction == "bidirectional" else 1
    # Each character has the gates' values, the hidden state and, in an LSTM, the cell state.
    units = (NUM_GATES[model.cell] + (2 if model.cell == "lstm" else 1)) * model.hidden_size * model.num_layers
    inputs = 0 if model.embedding_size is None else model.embedding_size
    # Logits and their log probabilities; the kernels keep a slice of them where they compute the loss.
    has_slices = model.direction in ("forward", "backward") and model.implementation in ("auto", "native")
    logits = 0 if has_slices and settings.train.precision != "bfloat16" else 2 * num_readouts * vocab_size
    chars = sampling.batch_size * sampling.seq_len
    beyond = sampling.batch_size * model.lookahead
    return chars * (num_stacks * (units + inputs) + logits) + beyond * (units + inputs)


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:,.1f} GB"
