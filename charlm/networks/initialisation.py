"""Initial weights, by the name that the configuration gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn

from charlm.networks.recurrent import LayerWeights
from charlm.networks.shapes import norm_names
from charlm.settings.model import ModelSettings

NORMAL_DEVIATION = 0.01


def initialise_stack(
    stack: nn.Module, model: ModelSettings, generator: torch.Generator, *, suffixes: Sequence[str] = ("",)
) -> None:
    """Fill a stack's parameters in place, in the same order for every implementation.

    torch's default is uniform in +-1/sqrt(H) (torch.nn.RNN's documentation); normal is N(0, 0.01) with zero biases, as
    in the textbook's cells from scratch; xavier and he scale with each gate's own fan and zero the biases; orthogonal
    (Saxe et al. 2014) and identity (Le, Jaitly and Hinton 2015) set the recurrent matrices and keep torch's default for
    the rest, except that identity zeroes the biases.

    Args:
        suffixes: suffixes of the parameters' names: torch.nn's bidirectional layers have a second set.
    """
    H = model.hidden_size
    with torch.no_grad():
        for layer, suffix in product(range(model.num_layers), suffixes):
            for kind in LayerWeights._fields:
                parameter = stack.get_parameter(f"{kind}_l{layer}{suffix}")
                if kind.startswith("bias"):
                    initialise_bias(parameter, model, H, generator)
                    continue
                for row in range(0, len(parameter), H):
                    initialise_matrix(parameter[row : row + H], model, H, generator, is_recurrent=kind == "weight_hh")
            for kind in norm_names(model):
                # Gains start at one and the bias at zero.
                stack.get_parameter(f"{kind}_l{layer}{suffix}").fill_(0.0 if kind == "bias_c" else 1.0)
            if model.forget_bias is not None:
                # The cell adds both biases, so one holds the value and the other is zero.
                stack.get_parameter(f"bias_ih_l{layer}{suffix}")[H : 2 * H] = model.forget_bias
                stack.get_parameter(f"bias_hh_l{layer}{suffix}")[H : 2 * H] = 0.0


def initialise_linear(layer: nn.Linear, model: ModelSettings, generator: torch.Generator) -> None:
    """Fill the output layer in place, by the same name as the recurrent layers."""
    with torch.no_grad():
        initialise_matrix(layer.weight, model, layer.in_features, generator, is_recurrent=False)
        initialise_bias(layer.bias, model, layer.in_features, generator)


def initialise_embedding(embedding: nn.Embedding, generator: torch.Generator) -> None:
    """Fill an embedding in place with N(0, 1), as torch does, whatever the settings say about other weights."""
    with torch.no_grad():
        embedding.weight.normal_(0.0, 1.0, generator=generator)


def initialise_matrix(
    matrix: Tensor, model: ModelSettings, fan: int, generator: torch.Generator, *, is_recurrent: bool
) -> None:
    """Fill one matrix (rows, columns) in place; torch's default is bounded by 1/sqrt(fan)."""
    if model.init == "normal":
        matrix.normal_(0.0, NORMAL_DEVIATION, generator=generator)
    elif model.init == "xavier":
        nn.init.xavier_uniform_(matrix, generator=generator)
    elif model.init == "he":
        nn.init.kaiming_normal_(matrix, nonlinearity="relu", generator=generator)
    elif model.init == "orthogonal" and is_recurrent:
        nn.init.orthogonal_(matrix, generator=generator)
    elif model.init == "identity" and is_recurrent:
        nn.init.eye_(matrix)
    else:
        bound = 1.0 / math.sqrt(fan)
        matrix.uniform_(-bound, bound, generator=generator)


def initialise_bias(bias: Tensor, model: ModelSettings, fan: int, generator: torch.Generator) -> None:
    """Fill one bias in place: with torch's default if the name keeps it, otherwise with zeros."""
    if model.init in ("torch", "orthogonal"):
        bound = 1.0 / math.sqrt(fan)
        bias.uniform_(-bound, bound, generator=generator)
    else:
        bias.zero_()
