"""What acts on the layers of a stack and between them, whichever twin runs them; a new regulariser belongs here."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import dropout

from charlm.networks.dropping import drop, drop_symbols
from charlm.networks.recurrent import LayerWeights, Stack


def enter_layer(stack: Stack, layer: int, below: Tensor) -> tuple[Tensor, LayerWeights]:
    """Return what a layer reads and its weights, some of both dropped in training.

    Masks are drawn here, in one order, so that every twin draws the same.

    Args:
        stack: what holds the parameters.
        layer: its number, from 0.
        below: the stack's inputs, or what the layer below has put out, (T, B, H).
    """
    model = stack.model
    weights = LayerWeights(*(getattr(stack, f"{kind}_l{layer}") for kind in LayerWeights._fields))
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
    """Return what goes up from a layer, (T, B, H): with residual connections what reached it is added to its outputs.

    Args:
        below: as for `enter_layer`; nothing is dropped of it.
    """
    return outputs + below if stack.model.residual and layer > 0 else outputs


def is_stock(stack: Stack) -> bool:
    """Return whether nothing acts on the layers now but dropout between them, as torch.nn's own modules have it."""
    model = stack.model
    has_masks = model.input_dropout > 0 or model.recurrent_dropout > 0 or (model.locked_dropout and model.dropout > 0)
    return not model.residual and not (stack.training and has_masks)
