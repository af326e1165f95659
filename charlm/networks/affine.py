"""W x + b, with a shortcut for a one-hot x: the product is a column of W, which is looked up and never multiplied."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import embedding, linear


@dataclass(frozen=True, slots=True)
class OneHot:
    """One-hot vectors, (B, V), represented by the only product that is needed of them.

    Args:
        product: W x, (B, rows), for the weight that they will be multiplied by.
    """

    product: Tensor


# What a cell reads at one time step, (B, E).
Vectors = Tensor | OneHot


def look_up(ids: Tensor, weight: Tensor) -> list[OneHot]:
    """Return the one-hot vectors of a window's ids, one item for each time step.

    Args:
        ids: (T, B), int64, below V.
        weight: W, (rows, V).
    """
    # Look up the whole window at once, because the gradient of each look-up is as large as W.
    return [OneHot(product) for product in look_up_window(ids, weight).product.unbind(0)]  # T of (B, rows)


def look_up_window(ids: Tensor, weight: Tensor) -> OneHot:
    """Do what `look_up` does, but return the vectors of all time steps together; their product is (T, B, rows)."""
    return OneHot(embedding(ids, weight.t()))


def multiply(x: Vectors, weight: Tensor) -> Tensor:
    """Return W x, (B, rows), with the weight (rows, E)."""
    return x.product if isinstance(x, OneHot) else linear(x, weight)


def affine(x: Vectors, weight: Tensor, bias: Tensor) -> Tensor:
    """Return W x + b, (B, rows), with the weight (rows, E) and the bias (rows,)."""
    return x.product + bias if isinstance(x, OneHot) else linear(x, weight, bias)
