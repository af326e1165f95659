"""From the arrays of a checkpoint to a torch network, and back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from charlm.networks.building import Network, build_model
from charlm.runs.checkpoints import Checkpoint
from charlm.runs.tensors import Array


def restore_model(checkpoint: Checkpoint, *, device: torch.device | str = "cpu") -> Network:
    """Build a checkpoint's network on a device with its weights, ready to generate or evaluate."""
    # The implementation that trained it does not matter here: this machine uses what it has.
    model = checkpoint.settings.model
    if model.implementation == "native":
        model = model.replaced({"implementation": "auto"})
    network = build_model(model, len(checkpoint.vocabulary), seed=0, device=str(device))
    network.load_state_dict(to_tensors(checkpoint.model))
    return network.to(device).eval()


def to_tensors(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    """Return arrays as tensors on the CPU, which may share their memory."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def to_arrays(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Return tensors as arrays, which share their memory where they are on the CPU."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
