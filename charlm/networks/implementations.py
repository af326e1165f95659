"""The three implementations by name, and the choice of the one that runs a network."""

from __future__ import annotations

from typing import Literal

from charlm.errors import ConfigError
from charlm.kernels.library import load_kernels
from charlm.networks.native import NativeStack
from charlm.networks.recurrent import Stack
from charlm.networks.reference import ReferenceStack
from charlm.networks.torch_nn import TorchStack
from charlm.settings.model import ModelSettings
from charlm.settings.training import ChosenPrecision, Precision

Chosen = Literal["native", "torch", "reference"]
# The fastest comes first.
TWINS: dict[Chosen, type[Stack]] = {"native": NativeStack, "torch": TorchStack, "reference": ReferenceStack}


def choose_implementation(model: ModelSettings, device: str = "cpu") -> Chosen:
    """Turn `auto` into an implementation: the fastest one that supports the settings.

    Raises:
        ConfigError: if the settings name an implementation that does not support them.
    """
    asked = model.implementation
    if model.direction == "leaky":
        if TorchStack.missing(model, device) or asked in ("native", "reference"):
            raise ConfigError(
                "model.direction leaky is torch.nn's own construction: it has no native or reference implementation, "
                "sigmoid or reset before; set model.implementation to auto or torch"
            )
        return "torch"
    if asked == "auto":
        return next(name for name, twin in TWINS.items() if twin.missing(model, device) is None)
    missing = TWINS[asked].missing(model, device)
    if missing and asked == "native":
        raise ConfigError(f"model.implementation native: {missing}; use auto")
    if missing:
        raise ConfigError(f"{missing}: set model.implementation to auto or reference")
    return asked


def choose_precision(
    asked: Precision, model: ModelSettings, implementation: Chosen, device: str = "cpu"
) -> ChosenPrecision:
    """Turn `auto` into the precision that training computes its products in: float32.

    Args:
        asked: the setting.
        model: the network's settings.
        implementation: what `choose_implementation` has chosen for the network on the device.
        device: where it runs.
    Raises:
        ConfigError: if bfloat16 is asked for, and the implementation or this processor does not have it.
    """
    if asked != "bfloat16":
        return "float32"
    if implementation != "native":
        why = NativeStack.missing(model, device) or f"model.implementation is {implementation}"
        raise ConfigError(
            f"train.precision bfloat16 is computed by the native implementation only: {why}; use float32 or auto"
        )
    kernels = load_kernels()
    if isinstance(kernels, str) or not kernels.has_bfloat16:
        raise ConfigError(
            "train.precision bfloat16: this processor has no instructions for it (avx512_bf16); use float32 or auto"
        )
    return "bfloat16"
