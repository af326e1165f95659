"""The forms of dropout for recurrent networks; what is kept is scaled up, so that the mean stays the same."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import dropout


def drop(features: Tensor, rate: float, *, is_locked: bool) -> Tensor:
    """Return features with some of their units dropped.

    Args:
        features: (T, B, H).
        rate: the probability of dropping a unit.
        is_locked: whether a row has one mask for its whole window (Gal and Ghahramani 2016) or one for each character.
    """
    if rate == 0.0:
        return features
    if not is_locked:
        return dropout(features, rate)
    return features * dropout(features.new_ones(1, *features.shape[1:]), rate)


def drop_symbols(ids: Tensor, weight: Tensor, rate: float, *, is_locked: bool) -> tuple[Tensor, Tensor]:
    """Drop units of one-hot vectors that are given as ids: a dropped id becomes V, whose column of W is zero.

    Args:
        ids: (T, B), int64, below V.
        weight: W, (rows, V).
        rate: the probability of dropping a unit.
        is_locked: whether a row drops the same symbols in its whole window.
    Returns:
        The ids, now up to V, and W with its columns scaled and a column of zeros added, (rows, V + 1).
    """
    if rate == 0.0:
        return ids, weight
    V = weight.shape[1]
    columns = torch.cat([weight / (1 - rate), weight.new_zeros(len(weight), 1)], dim=1)
    if is_locked:
        is_dropped = torch.rand(ids.shape[1], V, device=ids.device).gather(1, ids.t()).t() < rate  # (T, B)
    else:
        is_dropped = torch.rand(ids.shape, device=ids.device) < rate
    return ids.masked_fill(is_dropped, V), columns
