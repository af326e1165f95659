"""The three twins by their names, and which of them runs a network."""

from __future__ import annotations

from typing import Literal

from charlm.errors import ConfigError
from charlm.networks.native import NativeStack
from charlm.networks.recurrent import Stack
from charlm.networks.reference import ReferenceStack
from charlm.networks.torch_nn import TorchStack
from charlm.settings.model import ModelSettings

Chosen = Literal["native", "torch", "reference"]
# The fastest first.
TWINS: dict[Chosen, type[Stack]] = {"native": NativeStack, "torch": TorchStack, "reference": ReferenceStack}


def choose_implementation(model: ModelSettings, device: str = "cpu") -> Chosen:
    """Turn `auto` into the implementation it stands for: the fastest that has what the settings ask for.

    Raises:
        ConfigError: where the settings name one that does not have it.
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
