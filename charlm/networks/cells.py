"""The equations: RNN, LSTM and GRU, one line of code for each equation, in the papers' letters.

These are pure functions of one time step; weights and their gate blocks are laid out as in torch.nn. The gates are
functions of their own, so that they can be looked at: what they read is known before the step. The variants (another
place of the reset gate, layer normalisation, zoneout) are in variants.py.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, sigmoid, tanh

from charlm.networks.affine import Vectors, affine

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": tanh, "relu": torch.relu, "sigmoid": sigmoid}


def rnn_cell(
    x: Vectors,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    activation: Callable[[Tensor], Tensor] = tanh,
) -> Tensor:
    """Advance a simple recurrent network by one time step.

        h' = f(W_ih x + b_ih + W_hh h + b_hh)

    Args:
        x: input at this step, (B, E).
        h: hidden state, (B, H).
        weight_ih: (H, E).
        weight_hh: (H, H).
        bias_ih: (H,).
        bias_hh: (H,).
        activation: f; tanh, relu or sigmoid.
    Returns:
        The new h, (B, H).
    Source: Elman 1990.

    >>> x, h, zeros, ones = torch.ones(1, 2), torch.zeros(1, 1), torch.zeros, torch.ones
    >>> rnn_cell(x, h, ones(1, 2), ones(1, 1), zeros(1), zeros(1), torch.relu)
    tensor([[2.]])
    """
    return activation(affine(x, weight_ih, bias_ih) + affine(h, weight_hh, bias_hh))


def lstm_cell(
    x: Vectors,
    state: tuple[Tensor, Tensor],
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
) -> tuple[Tensor, Tensor]:
    """Advance an LSTM by one time step.

        i = sigmoid(W_ii x + b_ii + W_hi h + b_hi)        input gate
        f = sigmoid(W_if x + b_if + W_hf h + b_hf)        forget gate
        g = tanh(W_ig x + b_ig + W_hg h + b_hg)           candidate
        o = sigmoid(W_io x + b_io + W_ho h + b_ho)        output gate
        c' = f * c + i * g
        h' = o * tanh(c')

    Args:
        x: input at this step, (B, E).
        state: hidden and cell state (h, c), each (B, H).
        weight_ih: (4H, E), gate blocks in the order i, f, g, o.
        weight_hh: (4H, H), likewise.
        bias_ih: (4H,).
        bias_hh: (4H,).
    Returns:
        The new (h, c), each (B, H).
    Source: Hochreiter and Schmidhuber 1997; forget gate, Gers et al. 2000.

    >>> x, h, c, zeros = torch.ones(1, 2), torch.ones(1, 1), torch.ones(1, 1), torch.zeros
    >>> lstm_cell(x, (h, c), zeros(4, 2), zeros(4, 1), zeros(4), zeros(4))
    (tensor([[0.2311]]), tensor([[0.5000]]))
    """
    h, c = state
    i, f, g, o = lstm_gates(x, h, weight_ih, weight_hh, bias_ih, bias_hh)
    c = f * c + i * g
    h = o * tanh(c)
    return h, c


def lstm_gates(
    x: Vectors, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gates i, f, o and the candidate g of an LSTM's time step, in the order i, f, g, o, each (B, H).

    The equations and the arguments are those of `lstm_cell`; h is the hidden state before the step.

    >>> x, h, zeros = torch.ones(1, 2), torch.ones(1, 1), torch.zeros
    >>> lstm_gates(x, h, zeros(4, 2), zeros(4, 1), zeros(4), zeros(4))
    (tensor([[0.5000]]), tensor([[0.5000]]), tensor([[0.]]), tensor([[0.5000]]))
    """
    a_i, a_f, a_g, a_o = (affine(x, weight_ih, bias_ih) + affine(h, weight_hh, bias_hh)).chunk(4, dim=-1)
    i = sigmoid(a_i)
    f = sigmoid(a_f)
    g = tanh(a_g)
    o = sigmoid(a_o)
    return i, f, g, o


def gru_cell(x: Vectors, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> Tensor:
    """Advance a GRU by one time step; z keeps the old state, n replaces it.

        r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        reset gate
        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)        update gate
        n = tanh(W_in x + b_in + r * (W_hn h + b_hn))     candidate
        h' = (1 - z) * n + z * h

    The reset gate acts after the product with h, as in torch.nn and cuDNN; see `gru_cell_reset_before`.

    Args:
        x: input at this step, (B, E).
        h: hidden state, (B, H).
        weight_ih: (3H, E), gate blocks in the order r, z, n.
        weight_hh: (3H, H), likewise.
        bias_ih: (3H,).
        bias_hh: (3H,).
    Returns:
        The new h, (B, H).
    Source: Cho et al. 2014, equations 5 to 8 (there z and 1 - z change places).

    >>> x, h, zeros = torch.ones(1, 2), torch.ones(1, 1), torch.zeros
    >>> gru_cell(x, h, zeros(3, 2), zeros(3, 1), zeros(3), zeros(3))
    tensor([[0.5000]])
    """
    _, z, n = gru_gates(x, h, weight_ih, weight_hh, bias_ih, bias_hh)
    return (1 - z) * n + z * h


def gru_gates(
    x: Vectors, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gates r and z and the candidate n of a GRU's time step, in this order, each (B, H).

    The equations and the arguments are those of `gru_cell`; h is the state before the step.

    >>> x, h, zeros = torch.ones(1, 2), torch.ones(1, 1), torch.zeros
    >>> gru_gates(x, h, zeros(3, 2), zeros(3, 1), zeros(3), zeros(3))
    (tensor([[0.5000]]), tensor([[0.5000]]), tensor([[0.]]))
    """
    H = h.shape[-1]
    x_r, x_z, x_n = affine(x, weight_ih, bias_ih).chunk(3, dim=-1)
    # The gates and the candidate are two products, as in the variant whose reset gate acts before the product.
    h_r, h_z = affine(h, weight_hh[: 2 * H], bias_hh[: 2 * H]).chunk(2, dim=-1)
    h_n = affine(h, weight_hh[2 * H :], bias_hh[2 * H :])
    r = sigmoid(x_r + h_r)
    z = sigmoid(x_z + h_z)
    n = tanh(x_n + r * h_n)
    return r, z, n
