"""Optimisers and clipping, by their names in the configuration."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from charlm.settings.optimizer import OptimizerSettings


def build_optimizer(parameters: Iterable[Tensor], settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Return the optimiser; its learning rate is set again before each step.

    Adam, AdamW and SGD run fused, as one kernel for all parameters; otherwise they take much of a small network's step.
    """
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.method == "adam":
        return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=True)
    if settings.method == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
    momentum = settings.momentum or 0.0
    if settings.method == "sgd":
        return torch.optim.SGD(parameters, lr=rate, weight_decay=decay, momentum=momentum, fused=True)
    return torch.optim.RMSprop(parameters, lr=rate, weight_decay=decay, momentum=momentum)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def clip_gradients(parameters: Iterable[Tensor], settings: OptimizerSettings) -> Tensor:
    """Clip gradients in place, by global norm (Pascanu et al. 2013) or by value.

    Returns:
        The global norm before clipping, a scalar tensor.
    """
    parameters = list(parameters)
    norm = clip_grad_norm_(parameters, settings.clip_norm or float("inf"))
    if settings.clip_value is not None:
        clip_grad_value_(parameters, settings.clip_value)
    return norm
