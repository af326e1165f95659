"""The native twin: our kernels' loop over time behind one autograd function."""

from __future__ import annotations

import warnings
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.autograd.graph import increment_version

from charlm.kernels.library import CELL_NUMBERS, Kernels, Layer, address, load_kernels
from charlm.networks.recurrent import LayerWeights, StackShape, State, register_weights, run_cells, run_layers

Gradients = tuple[Tensor | None, ...]


class NativeLayer(torch.autograd.Function):
    """One recurrent layer over a window.

    Apply to (kernels, cell number, whether gradients are wanted, inputs, h, c, weight_ih, weight_hh, bias_ih, bias_hh):
    inputs are ids (T, B) or features (T, B, E), h and c the initial state (B, H), c None where the cell has none.
    Returns the outputs (T, B, H) and the final h and c.
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        kernels: Kernels,
        cell: int,
        has_gradient: bool,
        inputs: Tensor,
        h: Tensor,
        c: Tensor | None,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Run the layer, and keep what its way back needs where gradients are wanted."""
        T, B, H = *inputs.shape[:2], h.shape[-1]
        inputs, weights = inputs.contiguous(), tuple(weight.contiguous() for weight in weights)
        hidden = h.new_empty(T + 1, B, H)
        hidden[0] = h
        cells = None
        if c is not None:
            cells = h.new_empty(T + 1, B, H)
            cells[0] = c
        # Without gradients only features need the buffer, to have their share in.
        gates = h.new_empty(T, B, kernels.gates_size(cell, H)) if has_gradient or inputs.is_floating_point() else None
        kernels.forward(_layer_call(kernels, cell, inputs, weights, hidden, cells, gates))
        outputs = hidden[1:]
        if has_gradient:
            ctx.kernels, ctx.cell, ctx.has_cells = kernels, cell, cells is not None
            ctx.save_for_backward(inputs, hidden, gates, *weights, *([] if cells is None else [cells]))
        return outputs, hidden[-1].clone(), None if cells is None else cells[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, grad_outputs: Tensor | None, grad_h: Tensor | None, grad_c: Tensor | None
    ) -> Gradients:
        """Return the gradients of what the layer was applied to; the gates that were kept are used up."""
        saved = cast("tuple[Tensor, ...]", ctx.saved_tensors)
        inputs, hidden, gates, *weights = saved[:-1] if ctx.has_cells else saved
        cells = saved[-1] if ctx.has_cells else None
        grads = [torch.empty_like(weight) for weight in weights]
        grad_initial_h = torch.empty_like(hidden[0])
        grad_initial_c = None if cells is None else torch.empty_like(cells[0])
        grad_inputs = torch.empty_like(inputs) if ctx.needs_input_grad[3] else None
        call = _layer_call(ctx.kernels, ctx.cell, inputs, tuple(weights), hidden, cells, gates)
        given = [None if grad is None else grad.contiguous() for grad in (grad_outputs, grad_h, grad_c)]
        call.grad_outputs, call.grad_hidden, call.grad_cells = (address(grad) for grad in given)
        call.grad_weight_ih, call.grad_weight_hh, call.grad_bias_ih, call.grad_bias_hh = map(address, grads)
        call.grad_features = address(grad_inputs)
        call.grad_initial_hidden, call.grad_initial_cells = address(grad_initial_h), address(grad_initial_c)
        ctx.kernels.backward(call)
        # The gates' buffer now holds gradients: torch refuses a second walk back over this graph.
        increment_version(gates)
        return None, None, None, grad_inputs, grad_initial_h, grad_initial_c, *grads


class NativeLinear(torch.autograd.Function):
    """The output layer; apply to (kernels, x (rows, H), weight (V, H), bias (V,)), which gives (rows, V)."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, kernels: Kernels, x: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        """Return x W^T + b."""
        x, weight = x.contiguous(), weight.contiguous()
        out = x.new_empty(len(x), len(weight))
        kernels.linear_forward(x, weight, bias.contiguous(), out)
        ctx.kernels = kernels
        ctx.save_for_backward(x, weight)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> Gradients:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the gradients of x, weight and bias."""
        x, weight = ctx.saved_tensors
        grad_out = grad_out.contiguous()
        grad_x, grad_weight = torch.empty_like(x), torch.empty_like(weight)
        ctx.kernels.linear_backward(x, weight, grad_out, grad_x, grad_weight)
        return None, grad_x, grad_weight, grad_out.sum(0)


def run_linear(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the output layer's logits, (..., V), of hidden states (..., H), through the kernels."""
    kernels = load_kernels()
    assert isinstance(kernels, Kernels)
    applied: object = NativeLinear.apply(kernels, hidden.flatten(0, -2), weight, bias)  # pyright: ignore[reportUnknownVariableType]
    return cast("Tensor", applied).view(*hidden.shape[:-1], len(weight))


def _layer_call(
    kernels: Kernels,
    cell: int,
    inputs: Tensor,
    weights: tuple[Tensor, ...],
    hidden: Tensor,
    cells: Tensor | None,
    gates: Tensor | None,
) -> Layer:
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    call = Layer(
        cell=cell,
        threads=kernels.num_threads,
        seq_len=inputs.shape[0],
        batch_size=inputs.shape[1],
        hidden_size=hidden.shape[-1],
        input_size=weight_ih.shape[1],
        weight_ih=address(weight_ih),
        weight_hh=address(weight_hh),
        bias_ih=address(bias_ih),
        bias_hh=address(bias_hh),
        hidden=address(hidden),
        cells=address(cells),
        gates=address(gates),
    )
    if inputs.is_floating_point():
        call.features = address(inputs)
    else:
        call.ids = address(inputs)
    return call


def fits_kernels(tensor: Tensor) -> bool:
    """Return whether a tensor is what the kernels compute with: float32 on the CPU."""
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu"


def _misfit(stack: nn.Module, inputs: Tensor, state: State) -> str | None:
    """Name what of a stack, its inputs or its state the kernels cannot compute with, or return None."""
    numbers = [*state, *stack.parameters(), *([inputs] if inputs.is_floating_point() else [])]
    misfits = (f"{each.dtype} on {each.device}" for each in numbers if not fits_kernels(each))
    return next(misfits, None)


class NativeStack(nn.Module):
    """The kernels over depth and time, in float32 on the CPU; moved elsewhere, our cells run instead and say so."""

    def __init__(self, shape: StackShape) -> None:
        super().__init__()
        self.shape = shape
        register_weights(self, shape)

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the stack over a window; see `run_kernels`."""
        return run_kernels(self, self.shape, inputs, state)


def run_kernels(stack: nn.Module, shape: StackShape, inputs: Tensor, state: State) -> tuple[Tensor, State]:
    """Run the kernels over a window; arguments and results as those of `run_layers`.

    Numbers that are not float32 on the CPU go to our cells, with a warning.

    Raises:
        IndexError: for an id that is not of the vocabulary.
        ValueError: for a state or features of another size than the stack's.
    """
    kernels = load_kernels()
    assert isinstance(kernels, Kernels)
    if misfit := _misfit(stack, inputs, state):
        warnings.warn(
            f"the native kernels compute in float32 on the CPU: {misfit} runs in the reference implementation, "
            "which is slower",
            stacklevel=2,
        )
        return run_cells(stack, shape, inputs, state)
    # The kernels see addresses alone: another size would be misread.
    state_size = (shape.num_layers, inputs.shape[1], shape.hidden_size)
    has_other_inputs = inputs.is_floating_point() and inputs.shape[2] != shape.input_size
    if has_other_inputs or any(part.shape != state_size for part in state):
        raise ValueError(f"a state must be of size {state_size}, and features {shape.input_size} wide")
    cell, has_gradient = CELL_NUMBERS[kernel_name(shape)], torch.is_grad_enabled()

    def run_layer(layer: int, inputs: Tensor, state: State, weights: LayerWeights) -> tuple[Tensor, State]:
        del layer
        h, c = state if len(state) == 2 else (*state, None)
        applied: object = NativeLayer.apply(  # pyright: ignore[reportUnknownVariableType]
            kernels, cell, has_gradient, inputs, h, c, *weights
        )
        outputs, new_h, new_c = cast("tuple[Tensor, Tensor, Tensor | None]", applied)
        return outputs, (new_h,) if new_c is None else (new_h, new_c)

    if not inputs.is_floating_point():
        inputs = inputs.long()
    return run_layers(stack, shape, inputs, state, run_layer)


def kernel_name(shape: StackShape) -> str:
    """Return which of the kernels a stack needs."""
    if shape.cell == "rnn":
        return f"rnn_{shape.activation}"
    if shape.cell == "gru":
        return f"gru_reset_{'after' if shape.reset_after else 'before'}"
    return shape.cell
