"""The equations: three cells, one line of code for each equation, in the papers' letters.

Pure functions of one time step. Shapes: x (B, E), states (B, H). Weights and their gate blocks lie as in torch.nn.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import linear

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
}


def affine(x: Tensor, weight: Tensor | None, bias: Tensor) -> Tensor:
    """Return W x + b; without a weight, x is W x already.

    For a one-hot x the product is a column of W: the caller looks it up and passes None for the weight.
    """
    return x + bias if weight is None else linear(x, weight, bias)


def rnn_cell(
    x: Tensor,
    h: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    activation: Callable[[Tensor], Tensor] = torch.tanh,
) -> Tensor:
    """Advance a simple recurrent network by one time step.

        h' = f(W_ih x + b_ih + W_hh h + b_hh)

    Args:
        x: input at this step, (B, E); or W_ih x, (B, H), where weight_ih is None.
        h: hidden state, (B, H).
        weight_ih: (H, E), or None.
        weight_hh: (H, H).
        bias_ih: (H,).
        bias_hh: (H,).
        activation: f; tanh, relu or sigmoid.
    Returns:
        The new h, (B, H).
    Source: Elman 1990.
    """
    return activation(affine(x, weight_ih, bias_ih) + affine(h, weight_hh, bias_hh))


def lstm_cell(
    x: Tensor,
    state: tuple[Tensor, Tensor],
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
) -> tuple[Tensor, Tensor]:
    """Advance an LSTM by one time step.

        i, f, o = sigmoid(W_ih x + b_ih + W_hh h + b_hh)    g = tanh(likewise)
        c' = f * c + i * g        h' = o * tanh(c')

    Args:
        x: input at this step, (B, E); or W_ih x, (B, 4H), where weight_ih is None.
        state: hidden and cell state (h, c), each (B, H).
        weight_ih: (4H, E), gate blocks in the order i, f, g, o; or None.
        weight_hh: (4H, H), likewise.
        bias_ih: (4H,).
        bias_hh: (4H,).
    Returns:
        The new (h, c).
    Source: Hochreiter and Schmidhuber 1997; forget gate, Gers et al. 2000.
    """
    h, c = state
    i, f, g, o = (affine(x, weight_ih, bias_ih) + affine(h, weight_hh, bias_hh)).chunk(4, dim=-1)
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    c = f * c + i * g
    h = o * torch.tanh(c)
    return h, c


def gru_cell(
    x: Tensor,
    h: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    reset_after: bool = True,
) -> Tensor:
    """Advance a GRU by one time step; z keeps the old state, n replaces it.

        r, z = sigmoid(W_ih x + b_ih + W_hh h + b_hh)
        n = tanh(W_in x + b_in + r * (W_hn h + b_hn))        reset_after: torch.nn and cuDNN
        n = tanh(W_in x + b_in + W_hn (r * h) + b_hn)        otherwise: Cho et al. 2014
        h' = (1 - z) * n + z * h

    Args:
        x: input at this step, (B, E); or W_ih x, (B, 3H), where weight_ih is None.
        h: hidden state, (B, H).
        weight_ih: (3H, E), gate blocks in the order r, z, n; or None.
        weight_hh: (3H, H), likewise.
        bias_ih: (3H,).
        bias_hh: (3H,).
        reset_after: whether the reset gate acts after the matrix product or before it.
    Returns:
        The new h, (B, H).
    Source: Cho et al. 2014, equations 5 to 8 (there z and 1 - z change places).
    """
    H = h.shape[-1]
    x_r, x_z, x_n = affine(x, weight_ih, bias_ih).chunk(3, dim=-1)
    h_r, h_z = linear(h, weight_hh[: 2 * H], bias_hh[: 2 * H]).chunk(2, dim=-1)
    r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    W_hn, b_hn = weight_hh[2 * H :], bias_hh[2 * H :]
    n = torch.tanh(x_n + r * linear(h, W_hn, b_hn) if reset_after else x_n + linear(r * h, W_hn, b_hn))
    return (1 - z) * n + z * h
