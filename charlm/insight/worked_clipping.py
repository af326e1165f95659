"""Clipping worked out: the norm of one window's gradient, the factor, and one weight before and after."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from torch import Tensor

from charlm.insight.worked_network import length_of
from charlm.insight.worked_records import Term, WorkedLine, WorkedPart
from charlm.settings.optimizer import OptimizerSettings

# A sum of more squares is not for a pocket calculator.
MAX_NORMS = 8


@dataclass(frozen=True)
class Clipped:
    """The gradients of one window, before and after clipping.

    Args:
        before: the gradient of each parameter, by its name.
        after: the same, clipped.
    """

    before: Mapping[str, Tensor]
    after: Mapping[str, Tensor]


def clipping_parts(clipped: Clipped, optimizer: OptimizerSettings, recorded: Sequence[float]) -> tuple[WorkedPart, ...]:
    """Return the arithmetic of clipping.

    Args:
        clipped: the gradients.
        optimizer: how they are clipped.
        recorded: the gradient norms that the run has recorded, one for each evaluation.
    """
    norm = math.sqrt(math.fsum(length_of(each) ** 2 for each in clipped.before.values()))
    return (
        _norm_part(clipped.before, norm),
        _weight_part(clipped, optimizer, norm),
        _recorded_part(optimizer.clip_norm, recorded),
    )


def _norm_part(gradients: Mapping[str, Tensor], norm: float) -> WorkedPart:
    """Return the norm of each parameter's gradient, and of all of them as one long vector."""
    norms = sorted(((name, length_of(each)) for name, each in gradients.items()), key=lambda row: -row[1])
    shown, others = norms[:MAX_NORMS], norms[MAX_NORMS:]
    if others:
        shown.append((f"{len(others)} others", math.sqrt(math.fsum(each**2 for _, each in others))))
    lines = [
        WorkedLine(f"norm_{number}", "", each, meaning=name.removeprefix("recurrent."))
        for number, (name, each) in enumerate(shown, 1)
    ]
    terms = tuple(Term(line.symbol, line.value) for line in lines)
    formula = "sqrt({})".format(" + ".join(f"{term.symbol}^2" for term in terms))
    lines.append(WorkedLine("norm", formula, norm, terms))
    num_weights = sum(each.numel() for each in gradients.values())
    text = f"The norm is that of all {num_weights:,} gradients as one long vector."
    return WorkedPart("The norm of the gradient", text, tuple(lines))


def _weight_part(clipped: Clipped, optimizer: OptimizerSettings, norm: float) -> WorkedPart:
    """Return the factor, and what clipping does to the weight whose gradient is largest."""
    name = max(clipped.before, key=lambda each: float(clipped.before[each].abs().max()))
    place = int(clipped.before[name].abs().argmax())
    g, after = (float(each[name].flatten()[place]) for each in (clipped.before, clipped.after))
    factor, clip_norm, clip_value = 1.0, optimizer.clip_norm, optimizer.clip_value
    lines: list[WorkedLine] = []
    if clip_norm is not None:
        factor = min(1.0, clip_norm / norm) if norm > 0 else 1.0
        terms = (Term("clip_norm", clip_norm), Term("norm", norm))
        lines.append(WorkedLine("factor", "min(1, clip_norm / norm)", factor, terms))
    lines.append(WorkedLine("g", "", g, meaning="before clipping"))
    product = (Term("factor", factor), Term("g", g))
    if clip_value is not None:
        terms = (Term("clip_value", clip_value), *product)
        lines.append(WorkedLine("g'", "factor * g, within -clip_value and clip_value", after, terms))
    elif clip_norm is not None:
        lines.append(WorkedLine("g'", "factor * g", after, product))
    rate = Term("rate", optimizer.learning_rate)
    for symbol, value in {"g": g, "g'": after}.items() if len(lines) > 1 else {"g": g}.items():
        step = WorkedLine(f"step by {symbol}", f"-rate * {symbol}", -rate.value * value, (rate, Term(symbol, value)))
        lines.append(step)
    indices = ", ".join(str(index) for index in np.unravel_index(place, clipped.before[name].shape))
    text = (
        f"{_clipping(optimizer, norm)} g is the largest entry of the gradient, that of "
        f"{name.removeprefix('recurrent.')}[{indices}]. The steps are those of plain SGD at optimizer.learning_rate"
    )
    if optimizer.method != "sgd":
        text += f"; {optimizer.method} divides each entry by its usual size first, so a single large one moves it less"
    return WorkedPart("The factor, and one weight", f"{text}.", tuple(lines))


def _clipping(optimizer: OptimizerSettings, norm: float) -> str:
    """Say what the run's settings do to a gradient of this norm."""
    if optimizer.clip_norm is None and optimizer.clip_value is None:
        return "This run does not clip its gradients (optimizer.clip_norm is null): each step is as the gradient is."
    if optimizer.clip_norm is None:
        return "This run clips each entry (optimizer.clip_value), which changes the direction too."
    if norm > optimizer.clip_norm:
        return "The norm is above optimizer.clip_norm: every entry is multiplied by the same factor."
    return "The norm is below optimizer.clip_norm: the factor is 1, and nothing changes."


def _recorded_part(clip_norm: float | None, recorded: Sequence[float]) -> WorkedPart:
    """Return how often the recorded norms were above the limit."""
    if not recorded:
        return WorkedPart("In the whole run", "No evaluation of the run is recorded here, so neither is its norm.", ())
    number = len(recorded)
    text = (
        f"The run has recorded the norm before clipping at each of its {number:,} evaluations: that of the last step "
        "before the evaluation, and not of every step."
    )
    lines = [
        WorkedLine("median", "", median(recorded), meaning="of the recorded norms"),
        WorkedLine("largest", "", max(recorded), meaning="of the recorded norms"),
    ]
    if clip_norm is not None:
        above = sum(norm > clip_norm for norm in recorded)
        terms = (Term("above", above), Term("evaluations", number))
        share = WorkedLine("share", "above / evaluations", above / number, terms, meaning="above optimizer.clip_norm")
        lines.append(share)
    return WorkedPart("In the whole run", text, tuple(lines))
