"""The equations: three cells, one line of code for each equation, in the papers' letters.

Pure functions of one time step. Shapes: x (B, E), states (B, H). Weights and their gate blocks lie as in torch.nn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
}


@dataclass(frozen=True)
class Norms:
    """What layer normalisation (Ba et al. 2016, equations 20 to 31) learns of a cell with k gates.

    Args:
        gain_ih: of W_ih x, (kH,).
        gain_hh: of W_hh h, (kH,).
        gain_c: of the LSTM's cell state where it is read, (H,); None for the other cells.
        bias_c: likewise.
    """

    gain_ih: Tensor
    gain_hh: Tensor
    gain_c: Tensor | None = None
    bias_c: Tensor | None = None


def affine(
    x: Tensor, weight: Tensor | None, bias: Tensor, gain: Tensor | None = None, blocks: Sequence[int] | None = None
) -> Tensor:
    """Return W x + b, or LN(W x) * gain + b; without a weight, x is W x already.

    For a one-hot x the product is a column of W: the caller looks it up and passes None for the weight.

    Args:
        blocks: rows of W x that are normalised together; None is all of them.
    """
    if gain is None:
        return x + bias if weight is None else linear(x, weight, bias)
    product = x if weight is None else linear(x, weight)
    normalised: list[Tensor] = []
    start = 0
    for size in blocks or (len(gain),):
        rows = slice(start, start + size)
        normalised.append(layer_norm(product[..., rows], (size,), gain[rows], bias[rows]))
        start += size
    return torch.cat(normalised, dim=-1)


def rnn_cell(
    x: Tensor,
    h: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    activation: Callable[[Tensor], Tensor] = torch.tanh,
    norms: Norms | None = None,
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
        norms: normalises both products, as those of the other cells (equation 4 of Ba et al. normalises their sum).
    Returns:
        The new h, (B, H).
    Source: Elman 1990.
    """
    gain_ih, gain_hh = (norms.gain_ih, norms.gain_hh) if norms else (None, None)
    return activation(affine(x, weight_ih, bias_ih, gain_ih) + affine(h, weight_hh, bias_hh, gain_hh))


def lstm_cell(
    x: Tensor,
    state: tuple[Tensor, Tensor],
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    norms: Norms | None = None,
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
        norms: normalises both products, and c' where h' is made of it.
    Returns:
        The new (h, c).
    Source: Hochreiter and Schmidhuber 1997; forget gate, Gers et al. 2000.
    """
    h, c = state
    gain_ih, gain_hh = (norms.gain_ih, norms.gain_hh) if norms else (None, None)
    gates = affine(x, weight_ih, bias_ih, gain_ih) + affine(h, weight_hh, bias_hh, gain_hh)
    i, f, g, o = gates.chunk(4, dim=-1)
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    c = f * c + i * g
    h = o * torch.tanh(layer_norm(c, c.shape[-1:], norms.gain_c, norms.bias_c) if norms else c)
    return h, c


def gru_cell(
    x: Tensor,
    h: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    reset_after: bool = True,
    norms: Norms | None = None,
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
        norms: normalises both products, of each the rows of r and z apart from those of n; with the reset gate after
            them only.
    Returns:
        The new h, (B, H).
    Source: Cho et al. 2014, equations 5 to 8 (there z and 1 - z change places).
    """
    H = h.shape[-1]
    W_rz, W_n, b_rz, b_n = weight_hh[: 2 * H], weight_hh[2 * H :], bias_hh[: 2 * H], bias_hh[2 * H :]
    gain_ih, gain_rz, gain_n = (norms.gain_ih, norms.gain_hh[: 2 * H], norms.gain_hh[2 * H :]) if norms else [None] * 3
    x_r, x_z, x_n = affine(x, weight_ih, bias_ih, gain_ih, (2 * H, H)).chunk(3, dim=-1)
    h_r, h_z = affine(h, W_rz, b_rz, gain_rz).chunk(2, dim=-1)
    r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * affine(h, W_n, b_n, gain_n) if reset_after else x_n + linear(r * h, W_n, b_n))
    return (1 - z) * n + z * h
