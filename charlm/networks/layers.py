"""What acts on layers and between them, the same for every implementation; a new regulariser belongs here."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import dropout

from charlm.networks.dropping import drop, drop_symbols
from charlm.networks.recurrent import LayerWeights, Stack


def enter_layer(stack: Stack, layer: int, below: Tensor) -> tuple[Tensor, LayerWeights]:
    """Return a layer's inputs and weights, with dropout applied to both in training.

    Masks are drawn here in a fixed order, so that every implementation draws the same ones.

    Args:
        stack: the stack that holds the parameters.
        layer: its number, from 0.
        below: the stack's inputs, or the outputs of the layer below, (T, B, H).
    """
    model = stack.model
    weights = LayerWeights(*[getattr(stack, f"{kind}_l{layer}") for kind in LayerWeights._fields])
    if not stack.training:
        return below, weights
    if layer > 0:
        below = drop(below, model.dropout, is_locked=model.locked_dropout)
    elif model.is_one_hot:
        below, columns = drop_symbols(below, weights.weight_ih, model.input_dropout, is_locked=model.locked_dropout)
        weights = weights._replace(weight_ih=columns)
    else:
        below = drop(below, model.input_dropout, is_locked=model.locked_dropout)
    if model.recurrent_dropout > 0:
        weights = weights._replace(weight_hh=dropout(weights.weight_hh, model.recurrent_dropout))
    return below, weights


def leave_layer(stack: Stack, layer: int, below: Tensor, outputs: Tensor) -> Tensor:
    """Return what a layer passes up, (T, B, H): its outputs, plus what reached it if connections are residual.

    Args:
        below: as for `enter_layer`, without dropout.
    """
    return outputs + below if stack.model.residual and layer > 0 else outputs


def is_stock(stack: Stack) -> bool:
    """Return whether the layers need nothing except the dropout between them that torch.nn's own modules have."""
    model = stack.model
    has_masks = model.input_dropout > 0 or model.recurrent_dropout > 0 or (model.locked_dropout and model.dropout > 0)
    return not model.residual and not (stack.training and has_masks)
