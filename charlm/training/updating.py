"""What follows the gradients of a step: their norm, clipping, the optimiser's update, and the average of the weights.

Where the kernels compute a network, they also do this, for Adam and AdamW, in one pass over the parameters: then no bit
depends on the number of threads. The moments are those of torch's optimiser, so checkpoints are the same.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from charlm.kernels.library import Kernels, Parameter, Update, load_kernels
from charlm.networks.building import Network
from charlm.networks.modes import is_native
from charlm.networks.native import address
from charlm.settings.optimizer import OptimizerSettings
from charlm.training.averaging import Blend
from charlm.training.optimizer import clip_gradients, set_learning_rate


@dataclass(frozen=True)
class TorchUpdate:
    """Clip and update with torch.

    Args:
        network: the network, with gradients.
        optimizer: the optimiser of its parameters.
        settings: how gradients are clipped.
    """

    network: Network
    optimizer: torch.optim.Optimizer
    settings: OptimizerSettings

    def clip(self) -> Tensor:
        """Clip the gradients in place, and return the global norm before that, a scalar tensor."""
        return clip_gradients(self.network.parameters(), self.settings)

    def apply(self, learning_rate: float, norm: float, blend: Blend | None) -> None:  # noqa: ARG002
        """Update the parameters and then their average, if there is one."""
        set_learning_rate(self.optimizer, learning_rate)
        self.optimizer.step()
        if blend is not None:
            blend.add(self.network)


@dataclass(frozen=True)
class NativeUpdate:
    """Clip and update with the kernels; the gradients themselves stay as they are. See `TorchUpdate`.

    Args:
        kernels: the kernels.
        parameters: all parameters of the network.
        optimizer: Adam or AdamW.
        settings: how gradients are clipped.
    """

    kernels: Kernels
    parameters: Sequence[Tensor]
    optimizer: torch.optim.Optimizer
    settings: OptimizerSettings

    def clip(self) -> Tensor:
        """Return the global norm of the gradients, a scalar tensor."""
        norm = ctypes.c_double()
        moved = self._moved()
        table = (Parameter * len(moved))(*(Parameter(size=each.numel(), grad=address(each.grad)) for each in moved))
        self.kernels.gradient_norm(self._call(table), norm)
        return torch.tensor(norm.value)

    def apply(self, learning_rate: float, norm: float, blend: Blend | None) -> None:
        """Clip by the norm and update the parameters and then their average, if there is one."""
        set_learning_rate(self.optimizer, learning_rate)
        averages = dict(zip(self.parameters, blend.parameters, strict=True)) if blend else {}
        moved = self._moved()
        table = (Parameter * len(moved))(*(self._entry(each, averages.get(each)) for each in moved))
        call = self._call(table)
        call.share = blend.share if blend else 0.0
        call.scale = _clip_scale(norm, self.settings.clip_norm)
        call.limit = math.inf if self.settings.clip_value is None else self.settings.clip_value
        self.kernels.update(call)
        for parameter, average in averages.items():
            if parameter.grad is None:
                average.lerp_(parameter.detach(), call.share)

    def _moved(self) -> Sequence[Tensor]:
        """Return the parameters that have gradients; the others stay where they are, and so do their moments."""
        return [each for each in self.parameters if each.grad is not None]

    def _entry(self, parameter: Tensor, average: Tensor | None) -> Parameter:
        moments = self.optimizer.state[parameter]
        if not moments:
            # What torch's optimiser begins with.
            moments["step"] = torch.zeros((), dtype=torch.float32)
            moments["exp_avg"], moments["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        return Parameter(
            size=parameter.numel(),
            weight=address(parameter),
            grad=address(parameter.grad),
            first=address(moments["exp_avg"]),
            second=address(moments["exp_avg_sq"]),
            steps=address(moments["step"]),
            average=address(average),
        )

    def _call(self, table: ctypes.Array[Parameter]) -> Update:
        group = self.optimizer.param_groups[0]
        first_decay, second_decay = cast("tuple[float, float]", group["betas"])
        call = Update(
            threads=self.kernels.num_threads,
            is_decoupled=isinstance(self.optimizer, torch.optim.AdamW),
            num_parameters=len(table),
            parameters=ctypes.addressof(table),
            learning_rate=group["lr"],
            first_decay=first_decay,
            second_decay=second_decay,
            epsilon=group["eps"],
            weight_decay=group["weight_decay"],
        )
        # An address does not keep its table alive.
        call.table = table
        return call


def _clip_scale(norm: float, clip_norm: float | None) -> float:
    """Return what torch's clip_grad_norm_ multiplies gradients by, with the roundings that it has in float32."""
    if clip_norm is None:
        return 1.0
    inverse = np.float32(1.0) / (np.float32(norm) + np.float32(1e-6))
    return min(1.0, float(inverse * np.float32(clip_norm)))


def begin_update(
    network: Network, optimizer: torch.optim.Optimizer, settings: OptimizerSettings
) -> TorchUpdate | NativeUpdate:
    """Return what clips the gradients that a network has now, and updates its parameters."""
    kernels = load_kernels()
    is_adam = isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW)
    if is_adam and isinstance(kernels, Kernels) and is_native(network):
        return NativeUpdate(kernels, tuple(network.parameters()), optimizer, settings)
    return TorchUpdate(network, optimizer, settings)
