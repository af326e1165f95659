"""Building a network with fresh weights from its settings."""

from __future__ import annotations

import torch
from torch import nn

from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.implementations import choose_implementation
from charlm.networks.initialisation import initialise_embedding, initialise_linear, initialise_stack
from charlm.networks.language_model import CharLM, initialise_model
from charlm.networks.leaky import LeakyLM
from charlm.networks.recurrent import Stack
from charlm.settings.model import ModelSettings
from charlm.settings.training import Precision

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


def set_precision(network: nn.Module, precision: Precision) -> None:
    """Have a network's products computed in a precision, whenever it is in training mode; auto is float32.

    `choose_precision` says whether bfloat16 is possible.
    """
    for module in network.modules():
        if isinstance(module, Stack):
            module.precision = "bfloat16" if precision == "bfloat16" else "float32"


def num_parameters(network: nn.Module) -> int:
    """Return how many parameters the network learns."""
    return sum(parameter.numel() for parameter in network.parameters())
