"""The networks of a checkpoint, each made when it is first needed: with torch, or for the kernels alone without it."""

from __future__ import annotations

import os
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from charlm.networks.native_predictor import NativePredictor
from charlm.networks.support import missing_from_kernels
from charlm.runs.checkpoints import Checkpoint

if TYPE_CHECKING:
    from charlm.networks.building import Network
    from charlm.networks.predictor import Predictor

# What a driver of a graphics processor leaves on Linux, where alone there are kernels.
GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


class Networks:
    """The networks of a checkpoint.

    Args:
        checkpoint: its settings, vocabulary and weights.
        device: auto, cpu, cuda or mps, as the user gave it.
    """

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        self.checkpoint, self.device = checkpoint, device

    def on_device(self, device: str) -> Networks:
        """Return the same networks on another device."""
        return Networks(self.checkpoint, device)

    @property
    def told_of_validation(self) -> str | None:
        """What must be said of a result on the validation split; None except for an ensemble, which is fitted to it."""
        return None

    def check_single(self) -> None:
        """Accept that something needs one network: an ensemble refuses it."""

    @property
    def step(self) -> int | None:
        """The step of the checkpoint; None for an ensemble, which has none of its own."""
        return self.checkpoint.step

    @property
    def description(self) -> str:
        """The network in a few words, as Python shows a model."""
        model = self.checkpoint.settings.model
        return (
            f"step={self.checkpoint.step}, direction={model.direction!r}, cell={model.cell!r}, "
            f"num_layers={model.num_layers}, hidden_size={model.hidden_size}"
        )

    @property
    def measured(self) -> Network | Predictor:
        """What is measured on whole texts: the network in all its directions."""
        return self.torch

    @property
    def readable(self) -> Network | Predictor:
        """What scores texts: the kernels alone where they can, without torch, else the network."""
        if self.checkpoint.settings.model.direction == "bidirectional":
            # Its main network is only a half of it.
            return self.torch
        return self.main if isinstance(self.main, NativePredictor) else self.torch

    @cached_property
    def torch(self) -> Network:
        """The whole network as a torch module, in evaluation mode."""
        from charlm.runs.restoring import restore_model
        from charlm.training.resolution import choose_device

        return restore_model(self.checkpoint, device=choose_device(self.device))

    @cached_property
    def main(self) -> Predictor:
        """What predicts in the model's own direction; of a bidirectional model the forward half."""
        return self._predictor("forward_half")

    @cached_property
    def backward(self) -> Predictor:
        """The backward half of a bidirectional model."""
        return self._predictor("backward_half")

    @property
    def needs_torch(self) -> bool:
        """Whether the kernels cannot serve alone: on a GPU, for a leaky model, and where they lack a setting."""
        model = self.checkpoint.settings.model
        return (
            model.direction == "leaky"
            or model.implementation not in ("auto", "native")
            or self.device not in ("auto", "cpu")
            or (self.device == "auto" and has_gpu())
            or missing_from_kernels(model) is not None
        )

    def _predictor(self, half: Literal["forward_half", "backward_half"]) -> Predictor:
        settings, vocabulary, weights = self.checkpoint.settings, self.checkpoint.vocabulary, self.checkpoint.model
        is_bidirectional, num_characters = settings.model.direction == "bidirectional", len(vocabulary.characters)
        if self.needs_torch:
            from charlm.networks.torch_predictor import predictor_of

            network = self.torch
            return predictor_of(getattr(network, half) if is_bidirectional else network, num_characters)
        if is_bidirectional:
            weights = {name.removeprefix(f"{half}."): array for name, array in weights.items()}
        return NativePredictor(settings.model, weights, num_characters)


def has_gpu() -> bool:
    """Say whether this machine may have a GPU that torch can use; torch is asked if it is loaded already."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    if "torch" in sys.modules:
        import torch

        return torch.cuda.is_available()
    return any(Path(file).exists() for file in GPU_FILES)
