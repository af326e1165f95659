"""Train, evaluate and sample character-level language models with recurrent networks."""

# ruff: noqa: F403, F405

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charlm import errors
    from charlm.library import *
    from charlm.networks import cells

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "assess",
    "cells",
    "compare",
    "errors",
    "evaluate",
    "evaluate_dynamically",
    "generate",
    "load_settings",
    "new_items",
    "next_characters",
    "novelty",
    "open_run",
    "plot_curves",
    "score",
    "score_gaps",
    "score_lines",
    "stream",
    "sweep",
    "sweep_reports",
    "train",
    "train_reports",
]


# The modules that are public as a whole: the equations and the errors.
MODULES = {"cells": "charlm.networks.cells", "errors": "charlm.errors"}


def __getattr__(name: str) -> Any:
    # Torch is imported on first use, so that `charlm --help` and configurations do not need it.
    if name in MODULES:
        return import_module(MODULES[name])
    if name in __all__:
        return getattr(import_module("charlm.library"), name)
    raise AttributeError(f"module 'charlm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__]
