"""Character-level language models with recurrent networks: train, evaluate, generate."""

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


# The modules that are public as they are: the equations, and what can go wrong.
MODULES = {"cells": "charlm.networks.cells", "errors": "charlm.errors"}


def __getattr__(name: str) -> Any:
    # Torch comes in with the first use, so that `charlm --help` and configurations do without it.
    if name in MODULES:
        return import_module(MODULES[name])
    if name in __all__:
        return getattr(import_module("charlm.library"), name)
    raise AttributeError(f"module 'charlm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__]
