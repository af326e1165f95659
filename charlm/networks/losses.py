"""The mean cross entropy of logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy


def mean_costs(logits: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Return the mean cross entropy to learn from, and the plain one to report, which is not part of the graph.

    Args:
        logits: (T, B, V).
        targets: (T, B).
        smoothing: share of each target that is spread over all symbols, in the first only.
    """
    logits, targets = logits.flatten(0, 1), targets.flatten()
    if smoothing == 0.0:
        loss = cross_entropy(logits, targets)
        return loss, loss.detach()
    return cross_entropy(logits, targets, label_smoothing=smoothing), cross_entropy(logits.detach(), targets)
