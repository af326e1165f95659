"""Train, evaluate and sample character-level language models with recurrent networks."""

# ruff: noqa: F401
# pyright: reportUnusedImport=false

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charlm import errors
    from charlm.library.adapting import evaluate_dynamically
    from charlm.library.compressing import compress, decompress
    from charlm.library.copying import novelty
    from charlm.library.ensembling import ensemble
    from charlm.library.exporting import export_model
    from charlm.library.inspecting import inspect
    from charlm.library.items import new_items
    from charlm.library.measuring import assess, evaluate, score_gaps
    from charlm.library.models import Model, open_run
    from charlm.library.paging import page
    from charlm.library.plotting import plot
    from charlm.library.remembering import memory_task
    from charlm.library.scoring import next_characters, score, score_lines
    from charlm.library.training import sweep, train
    from charlm.library.worked import worked_step
    from charlm.library.writing import generate, stream
    from charlm.networks import cells
    from charlm.reports.comparison import compare
    from charlm.reports.plotting import plot_curves
    from charlm.runs.pruning import prune_runs
    from charlm.runs.removal import remove_runs
    from charlm.settings.loading import load_settings
    from charlm.sweeps.sweeping import sweep_reports
    from charlm.training.launch import train_reports

__version__ = "0.1.0"
# The public names and where they are. A module is imported when one of its names is first used, because torch takes a
# second that most commands do not need.
MODULES = {
    "evaluate_dynamically": "library.adapting",
    **dict.fromkeys(("compress", "decompress"), "library.compressing"),
    "novelty": "library.copying",
    "ensemble": "library.ensembling",
    "export_model": "library.exporting",
    "inspect": "library.inspecting",
    "new_items": "library.items",
    **dict.fromkeys(("assess", "evaluate", "score_gaps"), "library.measuring"),
    "open_run": "library.models",
    "page": "library.paging",
    "plot": "library.plotting",
    "memory_task": "library.remembering",
    **dict.fromkeys(("next_characters", "score", "score_lines"), "library.scoring"),
    **dict.fromkeys(("sweep", "train"), "library.training"),
    "worked_step": "library.worked",
    **dict.fromkeys(("generate", "stream"), "library.writing"),
    "compare": "reports.comparison",
    "plot_curves": "reports.plotting",
    "prune_runs": "runs.pruning",
    "remove_runs": "runs.removal",
    "load_settings": "settings.loading",
    "sweep_reports": "sweeps.sweeping",
    "train_reports": "training.launch",
}
# Those that are public as a whole: the equations and the errors.
WHOLE = {"cells": "networks.cells", "errors": "errors"}
__all__ = sorted(["__version__", *MODULES, *WHOLE])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in WHOLE:
        return import_module(f"charlm.{WHOLE[name]}")
    if name in MODULES:
        return getattr(import_module(f"charlm.{MODULES[name]}"), name)
    raise AttributeError(f"module 'charlm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__]
