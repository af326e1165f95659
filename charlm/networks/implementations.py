"""Which code runs a stack of layers: our kernels, torch.nn or the plain loop, equal within rounding."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from charlm.errors import ConfigError
from charlm.kernels.library import load_kernels
from charlm.networks.native import NativeStack, fits_kernels, run_linear
from charlm.networks.recurrent import (
    LayerWeights,
    ReferenceStack,
    StackShape,
    State,
    one_hot,
    run_cells,
    run_layers,
    stack_shape,
)
from charlm.settings.model import ModelSettings

Chosen = Literal["native", "torch", "reference"]


def missing_in_torch(shape: StackShape) -> str | None:
    """Name what torch.nn does not have of a stack, or return None."""
    if shape.cell == "rnn" and shape.activation == "sigmoid":
        return "model.activation sigmoid"
    if shape.cell == "gru" and not shape.reset_after:
        return "model.reset_after false"
    return _only_in_cells(shape)


def _only_in_cells(shape: StackShape) -> str | None:
    """Name what only our cells do, or return None: it acts between time steps, inside the others' loops."""
    if shape.zoneout > 0:
        return "model.zoneout"
    if shape.zoneout_cells > 0:
        return "model.zoneout_cells"
    return "model.layer_norm" if shape.layer_norm else None


def missing_in_kernels(shape: StackShape, device: str) -> str | None:
    """Say in a clause why the native kernels cannot run a stack here, or return None."""
    if device != "cpu":
        return f"the native kernels run on the CPU, not on {device}"
    if shape.cell == "rnn" and shape.activation == "sigmoid":
        return "the native kernels have no model.activation sigmoid"
    if missing := _only_in_cells(shape):
        return f"the native kernels have no {missing}"
    kernels = load_kernels()
    return kernels if isinstance(kernels, str) else None


def choose_implementation(model: ModelSettings, device: str = "cpu") -> Chosen:
    """Turn `auto` into the implementation it stands for: native, else torch, else reference.

    Raises:
        ConfigError: where the settings name one that does not have what they ask for.
    """
    shape = stack_shape(model, vocab_size=1)
    missing = missing_in_torch(shape)
    if model.direction == "leaky":
        if missing or model.implementation in ("native", "reference"):
            raise ConfigError(
                "model.direction leaky is torch.nn's own construction: it has no native or reference implementation, "
                "sigmoid or reset before; set model.implementation to auto or torch"
            )
        return "torch"
    not_native = missing_in_kernels(shape, device)
    if model.implementation == "native" and not_native:
        raise ConfigError(f"model.implementation native: {not_native}; use auto")
    if model.implementation == "torch" and missing:
        raise ConfigError(f"torch.nn has no {missing}: set model.implementation to auto or reference")
    if model.implementation != "auto":
        return model.implementation
    if not not_native:
        return "native"
    return "reference" if missing else "torch"


def build_stack(shape: StackShape, implementation: Chosen, *, bidirectional: bool = False) -> nn.Module:
    """Return the layers' parameters with what runs them; for torch, torch.nn's own RNN, GRU or LSTM.

    Args:
        bidirectional: torch.nn's joined layers, which leak their targets; only the cautionary example has them.
    """
    if implementation == "native":
        return NativeStack(shape)
    if implementation == "reference":
        return ReferenceStack(shape)
    assert missing_in_torch(shape) is None
    sizes = (shape.input_size, shape.hidden_size, shape.num_layers)
    if shape.cell == "rnn":
        return nn.RNN(*sizes, dropout=shape.dropout, nonlinearity=shape.activation, bidirectional=bidirectional)
    network = {"gru": nn.GRU, "lstm": nn.LSTM}[shape.cell]
    return network(*sizes, dropout=shape.dropout, bidirectional=bidirectional)


def run_stack(stack: nn.Module, shape: StackShape, inputs: Tensor, state: State) -> tuple[Tensor, State]:
    """Run any implementation over a window; see `run_layers`.

    A single step without gradients goes through our cells in each: torch.nn takes twice as long for it, and the kernels
    would lay out the weights for that one step.
    """
    if len(inputs) == 1 and not torch.is_grad_enabled():
        return run_cells(stack, shape, inputs, state)
    if isinstance(stack, ReferenceStack | NativeStack):
        return stack(inputs, state)
    has_masks = shape.input_dropout > 0 or shape.recurrent_dropout > 0 or (shape.locked_dropout and shape.dropout > 0)
    if shape.residual or (stack.training and has_masks):
        return run_layers(stack, shape, inputs, state, partial(_run_torch_layer, shape))
    if shape.is_one_hot:
        inputs = one_hot(inputs, shape.input_size, state[0].dtype)  # (T, B, V)
    hidden, new_state = stack(inputs, state if shape.cell == "lstm" else state[0])
    return hidden, new_state if shape.cell == "lstm" else (new_state,)


def _run_torch_layer(
    shape: StackShape, layer: int, inputs: Tensor, state: State, weights: LayerWeights
) -> tuple[Tensor, State]:
    """Run one layer with the function that torch.nn's modules call."""
    if layer == 0 and shape.is_one_hot:
        inputs = one_hot(inputs, weights.weight_ih.shape[1], state[0].dtype)  # (T, B, V)
    before = tuple(part.unsqueeze(0).contiguous() for part in state)
    # has biases, one layer, no dropout, training, not bidirectional, time first
    options = (list(weights), True, 1, 0.0, torch.is_grad_enabled(), False, False)
    if shape.cell == "lstm":
        outputs, *after = torch.lstm(inputs, before, *options)
    else:
        function = {"gru": torch.gru, "rnn": {"tanh": torch.rnn_tanh, "relu": torch.rnn_relu}.get(shape.activation)}[
            shape.cell
        ]
        assert function is not None
        outputs, *after = function(inputs, before[0], *options)
    return outputs, tuple(part.squeeze(0) for part in after)


def run_decoder(stack: nn.Module, decoder: nn.Linear, hidden: Tensor, *, has_bias: bool = True) -> Tensor:
    """Return the output layer's logits (..., V) of hidden states (..., H), computed as the stack below is."""
    bias = decoder.bias if has_bias else None
    if isinstance(stack, NativeStack) and fits_kernels(hidden) and fits_kernels(decoder.weight):
        return run_linear(hidden, decoder.weight, hidden.new_zeros(len(decoder.weight)) if bias is None else bias)
    return linear(hidden, decoder.weight, bias)


def describe_kernels() -> str:
    """Return what environment.json says of the kernels: their instruction set and threads, or why there are none."""
    kernels = load_kernels()
    if isinstance(kernels, str):
        return kernels
    if kernels.has_threads:
        return kernels.instruction_set
    return f"{kernels.instruction_set}, on one thread: torch's OpenMP threads cannot be shared here"


def kernel_build() -> str | None:
    """Return what tells this build of the kernels from others, or None where there are none."""
    kernels = load_kernels()
    return None if isinstance(kernels, str) else f"{kernels.instruction_set} {kernels.build}"
