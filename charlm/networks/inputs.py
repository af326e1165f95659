"""Turning ids into the tensors that a network reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn


def as_tensor(ids: npt.NDArray[np.integer[Any]], network: nn.Module) -> Tensor:
    """Return ids as an int64 tensor of the same shape on a network's device."""
    device = next(network.parameters()).device
    # Order C, because torch accepts no negative strides, which a text that is read from its end has.
    return torch.from_numpy(ids.astype(np.int64, order="C")).to(device)
