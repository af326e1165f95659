"""What characters cost under a network's logits, in nats, computed in float64 without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.errors import DivergedError
from charlm.networks.predictor import Floats

Costs = npt.NDArray[np.float64]
DIVERGED = "the model gives a character a probability that is not a number: its training has diverged"


def costs_after(logits: Floats) -> Costs:
    """Return what each symbol would cost as the next character, in nats, (V,), from the logits after a text.

    Raises:
        DivergedError: if a probability is not a number.
    """
    shifted, log_total = _normalise(logits)
    return _checked(log_total - shifted)


def target_costs(logits: Floats, targets: npt.NDArray[np.integer[Any]]) -> tuple[Costs, Costs]:
    """Return the costs of targets (...) under logits (..., V), and those of the likeliest symbols, in nats, each (...).

    Raises:
        DivergedError: if a probability is not a number.
    """
    shifted, log_total = _normalise(logits)
    nats = log_total - np.take_along_axis(shifted, targets.astype(np.int64)[..., None], -1)
    # The largest logit is shifted to 0.
    return _checked(nats[..., 0]), log_total[..., 0]


def _normalise(logits: Floats) -> tuple[Costs, Costs]:
    """Return logits less the largest, (..., V), and the logarithm of the sum of their exponentials, (..., 1)."""
    wide = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        shifted = wide - wide.max(-1, keepdims=True)
        return shifted, np.log(np.exp(shifted).sum(-1, keepdims=True))


def _checked(nats: Costs) -> Costs:
    if not np.isfinite(nats).all():
        raise DivergedError(DIVERGED)
    # A certain character costs 0.0, not -0.0.
    return np.abs(nats)
