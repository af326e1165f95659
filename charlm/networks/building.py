"""Building a network with fresh weights from its settings."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.implementations import choose_implementation
from charlm.networks.initialisation import initialise_embedding, initialise_linear, initialise_stack
from charlm.networks.language_model import CharLM, initialise_model
from charlm.networks.leaky import LeakyLM
from charlm.settings.model import ModelSettings

Network = CharLM | BidirectionalLM | LeakyLM


def build_model(model: ModelSettings, vocab_size: int, *, seed: int, device: str = "cpu") -> Network:
    """Return a network with fresh weights on the CPU; they are the same for every implementation.

    Args:
        device: where it will run, which decides what `auto` means.

    Raises:
        ConfigError: if an explicit implementation cannot be honoured.
    """
    implementation = choose_implementation(model, device)
    generator = torch.Generator().manual_seed(seed)
    if model.direction == "bidirectional":
        network = BidirectionalLM(model, vocab_size, implementation)
        initialise_model(network.forward_half, model, generator)
        initialise_model(network.backward_half, model, generator)
        return network
    if model.direction == "leaky":
        leaky = LeakyLM(model, vocab_size)
        initialise_stack(leaky.recurrent, model, generator, suffixes=("", "_reverse"))
        initialise_linear(leaky.decoder, model, generator)
        if leaky.embedding is not None:
            initialise_embedding(leaky.embedding, generator)
        return leaky
    causal = CharLM(model, vocab_size, implementation)
    initialise_model(causal, model, generator)
    return causal


def build_outline(model: ModelSettings, vocab_size: int) -> Network:
    """Return the network on torch's meta device: names and shapes, without memory for the numbers.

    They do not depend on the implementation, so this also works for one that this machine does not have.
    """
    # Drop the settings that change how a cell computes but no shape: torch.nn may not support them.
    plain = model.model_copy(update={"activation": None, "reset_after": None, "dropout": 0.0})
    with torch.device("meta"), _WithoutFilling():
        if model.direction == "bidirectional":
            return BidirectionalLM(plain, vocab_size, "reference")
        if model.direction == "leaky":
            return LeakyLM(plain, vocab_size)
        return CharLM(plain, vocab_size, "reference")


def parameter_shapes(model: ModelSettings, vocab_size: int) -> dict[str, torch.Size]:
    """Return the name and shape of every parameter that `build_model` would make."""
    return {name: parameter.shape for name, parameter in build_outline(model, vocab_size).state_dict().items()}


class _WithoutFilling(TorchFunctionMode):
    """Do not fill a new embedding: on the meta device, that alone makes torch load modules for a second."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return None if func is nn.init.normal_ else func(*args, **(kwargs or {}))


def num_parameters(network: nn.Module) -> int:
    """Return how many parameters the network learns."""
    return sum(parameter.numel() for parameter in network.parameters())
