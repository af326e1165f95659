"""Turn logits into the probabilities that a sample is drawn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.errors import ConfigError

Weights = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Filters:
    """How the model's distribution is sharpened and truncated; the filters are applied in this order.

    Args:
        temperature: divides the logits; 0 leaves only the likeliest character.
        top_k: keep only the k likeliest characters.
        top_p: keep the smallest set of likeliest characters with at least this probability (Holtzman et al. 2020).
        min_p: keep characters at least this fraction as likely as the likeliest.
    Raises:
        ConfigError: if a value is out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def __post_init__(self) -> None:
        problems = [
            (not 0.0 <= self.temperature < float("inf"), "temperature must be 0 or more", self.temperature),
            (self.top_k is not None and self.top_k < 1, "top_k must be at least 1", self.top_k),
            (self.top_p is not None and not 0.0 < self.top_p <= 1.0, "top_p must be in (0, 1]", self.top_p),
            (self.min_p is not None and not 0.0 <= self.min_p <= 1.0, "min_p must be in [0, 1]", self.min_p),
        ]
        if wrong := [f"{rule}, got {value}" for is_wrong, rule, value in problems if is_wrong]:
            raise ConfigError("\n".join(wrong))


PLAIN = Filters()
CALM = Filters(temperature=0.8)


def filter_logits(logits: npt.NDArray[np.floating[Any]], filters: Filters) -> npt.NDArray[np.float64]:
    """Return the filtered probabilities, (..., V), each row summing to 1."""
    logits = logits.astype(np.float64)
    if filters.temperature == 0.0:
        probabilities = np.zeros_like(logits)
        np.put_along_axis(probabilities, logits.argmax(-1)[..., None], 1.0, axis=-1)
        return probabilities
    # Shift the largest logit to 0 first, so that a tiny temperature cannot overflow.
    with np.errstate(over="ignore", under="ignore"):
        weights = np.exp((logits - logits.max(-1, keepdims=True)) / filters.temperature)
    if filters.top_k is not None and filters.top_k < logits.shape[-1]:
        number = filters.top_k
        weights = _keep(weights, lambda ordered: np.indices(ordered.shape)[-1] < number)
    if filters.top_p is not None:
        limit = filters.top_p
        weights = weights / weights.sum(-1, keepdims=True)
        weights = _keep(weights, lambda ordered: ordered.cumsum(-1) - ordered < limit)
    if filters.min_p is not None:
        floor = filters.min_p * weights.max(-1, keepdims=True)
        weights = np.where(weights >= floor, weights, 0.0)
    return weights / weights.sum(-1, keepdims=True)


def _keep(weights: Weights, which: Callable[[Weights], npt.NDArray[np.bool_]]) -> Weights:
    """Keep some of the weights in the order from the largest; among equals, the first comes first."""
    order = np.argsort(-weights, axis=-1, kind="stable")
    ordered = np.take_along_axis(weights, order, axis=-1)
    kept = np.empty_like(weights)
    np.put_along_axis(kept, order, np.where(which(ordered), ordered, 0.0), axis=-1)
    return kept
