"""Which settings of a network the implementations have no code for, and the kernels' names of what they have."""

from __future__ import annotations

from charlm.kernels.library import CELL_NUMBERS, load_kernels
from charlm.settings.model import ModelSettings


def only_in_cells(model: ModelSettings) -> str | None:
    """Return the setting that only our cells support, or None; it acts between time steps, inside the others' loops."""
    if model.zoneout > 0:
        return "model.zoneout"
    if model.zoneout_cells:
        return "model.zoneout_cells"
    return "model.layer_norm" if model.layer_norm else None


def missing_from_kernels(model: ModelSettings) -> str | None:
    """Return a clause that says why the kernels cannot run a stack on this machine's processor, or None."""
    if model.cell == "rnn" and model.nonlinearity == "sigmoid":
        return "the native kernels have no model.activation sigmoid"
    if missing := only_in_cells(model):
        return f"the native kernels have no {missing}"
    kernels = load_kernels()
    return kernels if isinstance(kernels, str) else None


def cell_number(model: ModelSettings) -> int:
    """Return the number of the kernels' cell that a stack needs."""
    name: str = model.cell
    if name == "rnn":
        name = f"rnn_{model.nonlinearity}"
    if name == "gru":
        name = f"gru_reset_{'before' if model.reset_after is False else 'after'}"
    return CELL_NUMBERS[name]
