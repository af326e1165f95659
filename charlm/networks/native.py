"""The native implementation: our kernels' loop over time behind one autograd function."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.autograd.graph import increment_version
from torch.nn.functional import linear

from charlm.kernels.library import Kernels, Layer, Output, load_kernels
from charlm.networks.layers import enter_layer, leave_layer
from charlm.networks.losses import mean_costs
from charlm.networks.recurrent import LayerWeights, Stack, State, join_layers, register_weights
from charlm.networks.reference import run_cells
from charlm.networks.support import cell_number, missing_from_kernels
from charlm.networks.workspace import Workspace
from charlm.settings.model import ModelSettings

Gradients = tuple[Tensor | None, ...]


class NativeStack(Stack):
    """The kernels over depth and time, in float32 on the CPU; elsewhere our cells run instead, with a warning."""

    def __init__(self, model: ModelSettings, vocab_size: int) -> None:
        super().__init__()
        self.model = model
        self.workspace = Workspace()
        register_weights(self, model, vocab_size)

    @staticmethod
    def missing(model: ModelSettings, device: str) -> str | None:
        """Return a clause that says why the kernels cannot run a stack here, or None."""
        if device != "cpu":
            return f"the native kernels run on the CPU, not on {device}"
        return missing_from_kernels(model)

    def run(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the kernels over a window; for numbers that are not float32 on the CPU, run our cells and warn.

        Raises:
            IndexError: for an id that is not in the vocabulary.
            ValueError: for a state or features whose size does not fit the stack.
        """
        if misfit := self._misfit(inputs, state):
            warnings.warn(
                f"the native kernels compute in float32 on the CPU: {misfit} runs in the reference implementation, "
                "which is slower",
                stacklevel=2,
            )
            return run_cells(self, inputs, state)
        self._check_sizes(inputs, state)
        kernels, cell = self._kernels(), cell_number(self.model)
        lender = self.workspace if torch.is_grad_enabled() else None
        states: list[State] = []
        for layer in range(self.model.num_layers):
            features, weights = enter_layer(self, layer, inputs)
            before = [part[layer] for part in state]
            applied: object = NativeLayer.apply(kernels, cell, lender, features, *weights, *before)  # pyright: ignore[reportUnknownVariableType]
            outputs, *after = cast("tuple[Tensor, ...]", applied)
            inputs = leave_layer(self, layer, inputs, outputs)
            states.append(tuple(after))
        return inputs, join_layers(states)

    def decode(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the logits, computed by the kernels, or by torch if the numbers are not float32 on the CPU."""
        if not (fits_kernels(hidden) and fits_kernels(weight)):
            return linear(hidden, weight, bias)
        bias = hidden.new_zeros(len(weight)) if bias is None else bias
        applied: object = NativeLinear.apply(self._kernels(), hidden.flatten(0, -2), weight, bias)  # pyright: ignore[reportUnknownVariableType]
        return cast("Tensor", applied).view(*hidden.shape[:-1], len(weight))

    def cost(
        self, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        """Return the mean cross entropy, computed by the kernels if everything is in float32 on the CPU."""
        # The kernels compute the layer with its loss in float32 only; with bfloat16 products, its logits come first.
        has_one_call = torch.is_grad_enabled() and not self._is_rounding
        if not (has_one_call and fits_kernels(hidden) and fits_kernels(weight)):
            return mean_costs(self.decode(hidden, weight, bias), targets, smoothing)
        applied: object = NativeOutput.apply(self._kernels(), smoothing, hidden.flatten(0, 1), weight, bias, targets)  # pyright: ignore[reportUnknownVariableType]
        return cast("tuple[Tensor, Tensor]", applied)

    @property
    def _is_rounding(self) -> bool:
        return self.training and self.precision == "bfloat16"

    def _kernels(self) -> Kernels:
        """Return the kernels, which in training may compute in bfloat16."""
        kernels = load_kernels()
        assert isinstance(kernels, Kernels)
        return kernels.in_bfloat16 if self._is_rounding else kernels

    def _misfit(self, inputs: Tensor, state: State) -> str | None:
        """Return the dtype and device that the kernels cannot compute with, or None."""
        numbers = [*state, *self.parameters(), *([inputs] if inputs.is_floating_point() else [])]
        misfits = (f"{each.dtype} on {each.device}" for each in numbers if not fits_kernels(each))
        return next(misfits, None)

    def _check_sizes(self, inputs: Tensor, state: State) -> None:
        # The kernels only see addresses, so they would misread another size.
        state_size = (self.model.num_layers, inputs.shape[1], self.model.hidden_size)
        if any(part.shape != state_size for part in state):
            raise ValueError(f"a state must be of size {state_size}")
        if inputs.is_floating_point() and inputs.shape[2] != self.get_parameter("weight_ih_l0").shape[1]:
            raise ValueError(f"these layers do not read features that are {inputs.shape[2]} wide")


class NativeLayer(torch.autograd.Function):
    """One recurrent layer over a window.

    It is applied to (kernels, cell number, who lends memory for the backward pass or None without gradients, inputs,
    weight_ih, weight_hh, bias_ih, bias_hh, h), and c if the cell has one: inputs are ids (T, B) or features (T, B, E);
    h and c are the initial state, each (B, H). It returns the outputs (T, B, H) and the final h, or h and c.
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        kernels: Kernels,
        cell: int,
        lender: Workspace | None,
        inputs: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        """Run the layer; if gradients are wanted, keep what the backward pass needs."""
        inputs = inputs.contiguous() if inputs.is_floating_point() else inputs.long().contiguous()
        weights = tuple(weight.contiguous() for weight in (weight_ih, weight_hh, bias_ih, bias_hh))
        paths = tuple(_path(len(inputs), start) for start in state)
        T, B, H = len(inputs), *paths[0].shape[1:]
        size, gates = T * B * kernels.gates_size(cell, H), None
        if lender is not None:
            ctx.lender, ctx.lent = lender, lender.lend(size)
            gates = ctx.lent[:size]
        elif inputs.is_floating_point():
            # Without gradients only features need the buffer, for their product with W_ih.
            gates = paths[0].new_empty(size)
        kernels.forward(_layer_call(kernels, cell, inputs, weights, paths, gates))
        if lender is not None:
            ctx.kernels, ctx.cell = kernels, cell
            ctx.save_for_backward(inputs, gates, *weights, *paths)
        return paths[0][1:], *(path[-1].clone() for path in paths)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, grad_outputs: Tensor | None, *grad_final: Tensor | None
    ) -> Gradients:
        """Return the gradients of what the layer was applied to; this overwrites the gates that were kept."""
        inputs, gates, *kept = cast("tuple[Tensor, ...]", ctx.saved_tensors)
        weights, paths = kept[:4], kept[4:]
        grads = [torch.empty_like(weight) for weight in weights]
        grad_initial = [torch.empty_like(path[0]) for path in paths]
        grad_inputs = torch.empty_like(inputs) if ctx.needs_input_grad[3] else None
        call = _layer_call(ctx.kernels, ctx.cell, inputs, weights, paths, gates)
        given = [None if grad is None else grad.contiguous() for grad in (grad_outputs, *grad_final)]
        # Without cell states, the last field of each of these stays null.
        for name, grad in zip(("grad_outputs", "grad_hidden", "grad_cells"), given, strict=False):
            setattr(call, name, address(grad))
        for name, grad in zip(("grad_initial_hidden", "grad_initial_cells"), grad_initial, strict=False):
            setattr(call, name, address(grad))
        call.grad_weight_ih, call.grad_weight_hh, call.grad_bias_ih, call.grad_bias_hh = map(address, grads)
        call.grad_features = address(grad_inputs)
        ctx.kernels.backward(call)
        # The gates' buffer now holds gradients, so make torch refuse a second backward pass over this graph.
        increment_version(gates)
        ctx.lender.give_back(ctx.lent)
        ctx.lent = None
        return None, None, None, grad_inputs, *grads, *grad_initial


class NativeLinear(torch.autograd.Function):
    """The output layer; it is applied to (kernels, x (rows, H), weight (V, H), bias (V,)) and returns (rows, V)."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, kernels: Kernels, x: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        """Return x W^T + b."""
        x, weight, bias = x.contiguous(), weight.contiguous(), bias.contiguous()
        out = x.new_empty(len(x), len(weight))
        arrays = map(address, (x, weight, bias, out))
        kernels.linear_forward(kernels.num_threads, *x.shape, len(weight), *arrays)
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
        arrays = map(address, (x, weight, grad_out, grad_x, grad_weight))
        ctx.kernels.linear_backward(ctx.kernels.num_threads, *x.shape, len(weight), *arrays)
        return None, grad_x, grad_weight, grad_out.sum(0)


class NativeOutput(torch.autograd.Function):
    """The output layer with its loss, whose gradients are computed at once, so that no logits are kept.

    It is applied to (kernels, smoothing, hidden (rows, H), weight (V, H), bias (V,), targets), and returns the mean
    smoothed cross entropy and the plain one, which has no gradient.
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, kernels: Kernels, smoothing: float, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the losses, and keep the gradients."""
        given = [each.contiguous() for each in (hidden, weight, bias, targets.long())]
        grads = [torch.empty_like(each) for each in given[:3]]
        names = ("hidden", "weight", "bias", "targets", "grad_hidden", "grad_weight", "grad_bias")
        call = Output(
            threads=kernels.num_threads,
            rows=len(hidden),
            depth=hidden.shape[1],
            columns=len(weight),
            smoothing=smoothing,
            **dict(zip(names, map(address, (*given, *grads)), strict=True)),
        )
        kernels.output(call)
        ctx.save_for_backward(*grads)
        loss, mean = hidden.new_tensor(call.loss), hidden.new_tensor(call.mean)
        ctx.mark_non_differentiable(mean)
        return loss, mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, _: Tensor) -> Gradients:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the gradients of hidden, weight and bias."""
        kept = cast("tuple[Tensor, ...]", ctx.saved_tensors)
        scale = grad_loss.item()
        return None, None, *(kept if scale == 1.0 else (each * scale for each in kept)), None


def _path(length: int, start: Tensor) -> Tensor:
    """Return an array for a state at the start and after each step, (T + 1, B, H), with the start filled in."""
    path = start.new_empty(length + 1, *start.shape)
    path[0] = start
    return path


def _layer_call(
    kernels: Kernels,
    cell: int,
    inputs: Tensor,
    weights: Sequence[Tensor],
    paths: Sequence[Tensor],
    gates: Tensor | None,
) -> Layer:
    """Describe a layer and its window to the kernels; paths are the hidden states, and the cell states of an LSTM."""
    return Layer(
        cell=cell,
        threads=kernels.num_threads,
        seq_len=inputs.shape[0],
        batch_size=inputs.shape[1],
        hidden_size=paths[0].shape[-1],
        input_size=weights[0].shape[1],
        ids=None if inputs.is_floating_point() else address(inputs),
        features=address(inputs) if inputs.is_floating_point() else None,
        **dict(zip(LayerWeights._fields, map(address, weights), strict=True)),
        hidden=address(paths[0]),
        cells=address(paths[1]) if len(paths) > 1 else None,
        gates=address(gates),
    )


def fits_kernels(tensor: Tensor) -> bool:
    """Return whether the kernels can compute with a tensor, which must be float32 on the CPU."""
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu"


def address(array: Tensor | None) -> int | None:
    """Return the address of a contiguous array's memory."""
    assert array is None or array.is_contiguous()
    return None if array is None else array.data_ptr()
