"""Turn logits into the probabilities that a sample is drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from charlm.errors import ConfigError


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


def filter_logits(logits: Tensor, filters: Filters) -> Tensor:
    """Return the filtered probabilities, (..., V) in float64, each row summing to 1."""
    logits = logits.double()
    if filters.temperature == 0.0:
        return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)
    # Shift the largest logit to 0 first, so that a tiny temperature cannot overflow.
    probabilities = torch.softmax((logits - logits.amax(-1, keepdim=True)) / filters.temperature, dim=-1)
    if filters.top_k is not None and filters.top_k < logits.shape[-1]:
        kept = probabilities.topk(filters.top_k, dim=-1)
        probabilities = torch.zeros_like(probabilities).scatter_(-1, kept.indices, kept.values)
    if filters.top_p is not None:
        probabilities = _nucleus(probabilities / probabilities.sum(-1, keepdim=True), filters.top_p)
    if filters.min_p is not None:
        floor = filters.min_p * probabilities.amax(-1, keepdim=True)
        probabilities = probabilities.where(probabilities >= floor, 0.0)
    return probabilities / probabilities.sum(-1, keepdim=True)


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(probabilities).scatter_(-1, order, ordered.where(before < top_p, 0.0))
