"""Variants of the three cells: another place of the reset gate, layer normalisation inside, zoneout after them.

Shapes and weights are those of the functions in cells.py.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, sigmoid, tanh
from torch.nn.functional import layer_norm

from charlm.networks.affine import Vectors, affine, multiply


def gru_cell_reset_before(
    x: Vectors, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
) -> Tensor:
    """Advance a GRU whose reset gate acts before the product with h.

        r, z, h' as in `gru_cell`
        n = tanh(W_in x + b_in + W_hn (r * h) + b_hn)

    Arguments and result are those of `gru_cell`.
    Source: Cho et al. 2014, equations 5 to 8 (there z and 1 - z change places).

    >>> x, h, zeros, ones = torch.ones(1, 2), torch.ones(1, 1), torch.zeros, torch.ones
    >>> gru_cell_reset_before(x, h, zeros(3, 2), ones(3, 1), zeros(3), zeros(3))
    tensor([[0.8988]])
    """
    _, z, n = gru_gates_reset_before(x, h, weight_ih, weight_hh, bias_ih, bias_hh)
    return (1 - z) * n + z * h


def gru_gates_reset_before(
    x: Vectors, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the r, z and n of `gru_cell_reset_before`, as `gru_gates` does.

    >>> x, h, zeros, ones = torch.ones(1, 2), torch.ones(1, 1), torch.zeros, torch.ones
    >>> gru_gates_reset_before(x, h, zeros(3, 2), ones(3, 1), zeros(3), zeros(3))
    (tensor([[0.7311]]), tensor([[0.7311]]), tensor([[0.6237]]))
    """
    H = h.shape[-1]
    x_r, x_z, x_n = affine(x, weight_ih, bias_ih).chunk(3, dim=-1)
    h_r, h_z = affine(h, weight_hh[: 2 * H], bias_hh[: 2 * H]).chunk(2, dim=-1)
    r = sigmoid(x_r + h_r)
    z = sigmoid(x_z + h_z)
    n = tanh(x_n + affine(r * h, weight_hh[2 * H :], bias_hh[2 * H :]))
    return r, z, n


def normalise(a: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """Return a with its mean removed and divided by its standard deviation, times a gain, plus a bias.

        LN(a; g, b) = g * (a - mean(a)) / deviation(a) + b

    Args:
        a: (B, rows).
        gain: (rows,).
        bias: (rows,).
    Source: Ba, Kiros and Hinton 2016, equation 4.

    >>> a = torch.tensor([[1.0, 3.0]])
    >>> normalise(a, torch.tensor([1.0, 2.0]), torch.zeros(2))
    tensor([[-1.0000,  2.0000]])
    """
    return layer_norm(a, gain.shape, gain, bias)


def normalised_product(x: Vectors, weight: Tensor, bias: Tensor, gain: Tensor) -> Tensor:
    """Return LN(W x; g, b), which replaces W x + b in the cells below.

    >>> x = torch.tensor([[1.0, 3.0]])
    >>> normalised_product(x, torch.eye(2), torch.zeros(2), torch.ones(2))
    tensor([[-1.0000,  1.0000]])
    """
    return normalise(multiply(x, weight), gain, bias)


def layer_norm_rnn_cell(
    x: Vectors,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    gain_ih: Tensor,
    gain_hh: Tensor,
    activation: Callable[[Tensor], Tensor] = tanh,
) -> Tensor:
    """Advance a simple recurrent network whose two products are normalised.

        h' = f(LN(W_ih x; g_ih, b_ih) + LN(W_hh h; g_hh, b_hh))

    Arguments and result are those of `rnn_cell`, plus the gains, each (H,).
    Source: Ba, Kiros and Hinton 2016, whose equation 4 normalises the sum; the other cells there normalise as here.

    >>> x, h, W, g, b = torch.tensor([[1.0, 3.0]]), torch.zeros(1, 2), torch.eye(2), torch.ones(2), torch.zeros(2)
    >>> layer_norm_rnn_cell(x, h, W, W, b, b, g, g, torch.relu)
    tensor([[0.0000, 1.0000]])
    """
    from_x = normalised_product(x, weight_ih, bias_ih, gain_ih)
    from_h = normalised_product(h, weight_hh, bias_hh, gain_hh)
    return activation(from_x + from_h)


def layer_norm_lstm_cell(
    x: Vectors,
    state: tuple[Tensor, Tensor],
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    gain_ih: Tensor,
    gain_hh: Tensor,
    gain_c: Tensor,
    bias_c: Tensor,
) -> tuple[Tensor, Tensor]:
    """Advance an LSTM whose two products are normalised, as is its cell state where it is read.

        (i, f, g, o) of LN(W_ih x; g_ih, b_ih) + LN(W_hh h; g_hh, b_hh), and c' as in `lstm_cell`
        h' = o * tanh(LN(c'; g_c, b_c))

    Arguments and result are those of `lstm_cell`, plus gain_ih and gain_hh, (4H,), gain_c and bias_c, (H,).
    Source: Ba, Kiros and Hinton 2016, equations 20 to 31.

    >>> h, c, W, b = torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]), torch.zeros(8, 2), torch.zeros(8)
    >>> layer_norm_lstm_cell(h, (h, c), W, W, b, b, b, b, torch.ones(2), torch.zeros(2))
    (tensor([[-0.3808,  0.3808]]), tensor([[0.5000, 1.5000]]))
    """
    h, c = state
    i, f, g, o = layer_norm_lstm_gates(x, h, weight_ih, weight_hh, bias_ih, bias_hh, gain_ih, gain_hh)
    c = f * c + i * g
    h = o * tanh(normalise(c, gain_c, bias_c))
    return h, c


def layer_norm_lstm_gates(
    x: Vectors,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    gain_ih: Tensor,
    gain_hh: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the i, f, g and o of `layer_norm_lstm_cell`, as `lstm_gates` does.

    >>> h, W, b = torch.ones(1, 1), torch.zeros(4, 1), torch.zeros(4)
    >>> layer_norm_lstm_gates(h, h, W, W, b, b, b, b)
    (tensor([[0.5000]]), tensor([[0.5000]]), tensor([[0.]]), tensor([[0.5000]]))
    """
    from_x = normalised_product(x, weight_ih, bias_ih, gain_ih)
    from_h = normalised_product(h, weight_hh, bias_hh, gain_hh)
    a_i, a_f, a_g, a_o = (from_x + from_h).chunk(4, dim=-1)
    i = sigmoid(a_i)
    f = sigmoid(a_f)
    g = tanh(a_g)
    o = sigmoid(a_o)
    return i, f, g, o


def layer_norm_gru_cell(
    x: Vectors,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    gain_ih: Tensor,
    gain_hh: Tensor,
) -> Tensor:
    """Advance a GRU whose products are normalised, with the rows of r and z apart from those of n.

        (r, z) = sigmoid(LN(W_irz x; g_irz, b_irz) + LN(W_hrz h; g_hrz, b_hrz))
        n = tanh(LN(W_in x; g_in, b_in) + r * LN(W_hn h; g_hn, b_hn)), and h' as in `gru_cell`

    Arguments and result are those of `gru_cell`, plus the gains, each (3H,).
    Source: Ba, Kiros and Hinton 2016, equations 20 to 31.

    >>> h, W, b = torch.ones(1, 2), torch.zeros(6, 2), torch.zeros(6)
    >>> layer_norm_gru_cell(h, h, W, W, b, b, b, b)
    tensor([[0.5000, 0.5000]])
    """
    _, z, n = layer_norm_gru_gates(x, h, weight_ih, weight_hh, bias_ih, bias_hh, gain_ih, gain_hh)
    return (1 - z) * n + z * h


def layer_norm_gru_gates(
    x: Vectors,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    gain_ih: Tensor,
    gain_hh: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the r, z and n of `layer_norm_gru_cell`, as `gru_gates` does.

    >>> h, W, b = torch.ones(1, 1), torch.zeros(3, 1), torch.zeros(3)
    >>> layer_norm_gru_gates(h, h, W, W, b, b, b, b)
    (tensor([[0.5000]]), tensor([[0.5000]]), tensor([[0.]]))
    """
    H = h.shape[-1]
    gates, candidate = slice(0, 2 * H), slice(2 * H, 3 * H)
    from_x = multiply(x, weight_ih)
    x_r, x_z = normalise(from_x[..., gates], gain_ih[gates], bias_ih[gates]).chunk(2, dim=-1)
    x_n = normalise(from_x[..., candidate], gain_ih[candidate], bias_ih[candidate])
    h_r, h_z = normalised_product(h, weight_hh[gates], bias_hh[gates], gain_hh[gates]).chunk(2, dim=-1)
    h_n = normalised_product(h, weight_hh[candidate], bias_hh[candidate], gain_hh[candidate])
    r = sigmoid(x_r + h_r)
    z = sigmoid(x_z + h_z)
    n = tanh(x_n + r * h_n)
    return r, z, n


def zone_out(new: Tensor, old: Tensor, rate: float, *, is_training: bool) -> Tensor:
    """Return a state some of whose units keep their old value; outside training, return the expected state.

        h'' = d * h + (1 - d) * h'        d = 1 with probability `rate`; in evaluation d is its mean

    Args:
        new: h', after a time step, (B, H).
        old: h, before it.
        rate: the probability that a unit keeps its old value.
        is_training: whether to draw which units do.
    Source: Krueger et al. 2016.

    >>> new, old = torch.ones(1, 2), torch.zeros(1, 2)
    >>> zone_out(new, old, 0.25, is_training=False)
    tensor([[0.7500, 0.7500]])
    """
    if rate == 0.0:
        return new
    if is_training:
        return torch.where(torch.rand_like(new) < rate, old, new)
    return rate * old + (1 - rate) * new
