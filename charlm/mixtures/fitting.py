"""Fit the weights of a mixture to a text that no member has learned from.

The cost of the text is convex in the weights, because a log-linear mixture is an exponential family: its gradient is
what the members' logits are expected to be less what they are at the characters that followed, and its Hessian is their
covariance (Berger, Della Pietra and Della Pietra 1996). Newton's method therefore finds the one best set of weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from charlm.mixtures.mixture import AnyLogits, Lengths, Weights, mix

MAX_ROUNDS = 50
PRECISION = 1e-9
# The pull of the common weights on those of each length, in characters whose logits have a variance of 1.
PRIOR_CHARS = 50.0
# Keeps members that say the same apart.
RIDGE = 1e-3
BLOCK_ROWS = 4096
Targets = npt.NDArray[np.int64]
Costs = npt.NDArray[np.float64]


def fit_weights(logits: Sequence[AnyLogits], lengths: Lengths, targets: Targets, num_lengths: int) -> Weights:
    """Return the weights under which a text costs least, (lengths, members).

    First all characters together decide on one weight for each member. Those of each length then depart from it as far
    as they have characters that justify it.

    Args:
        logits: of each member at each character, (N, V).
        lengths: of the longest known context at each, (N,).
        targets: the characters, (N,).
        num_lengths: how many lengths there are.
    """
    members = len(logits)
    common = _newton(logits, targets, np.full(members, 1 / members), np.full(members, RIDGE))
    weights = np.tile(common, (num_lengths, 1))
    if num_lengths > 1:
        for length in range(num_lengths):
            rows = np.flatnonzero(lengths == length)
            if len(rows):
                own = [each[rows] for each in logits]
                weights[length] = _newton(own, targets[rows], common, np.full(members, PRIOR_CHARS))
    return weights


def costs_of(logits: Sequence[AnyLogits], weights: Weights, targets: Targets) -> Costs:
    """Return what characters cost under some weights, in nats, (N,).

    Args:
        logits: of each member, (N, V).
        weights: (N, members), or (1, members) for all.
        targets: the characters, (N,).
    """
    costs = np.empty(len(targets))
    for rows in _blocks(len(targets)):
        mixed = mix([each[rows] for each in logits], weights[rows] if len(weights) > 1 else weights)
        mixed -= mixed.max(-1, keepdims=True)
        seen = np.take_along_axis(mixed, targets[rows][:, None], -1)[:, 0]
        costs[rows] = np.log(np.exp(mixed).sum(-1)) - seen
    return costs


def _newton(logits: Sequence[AnyLogits], targets: Targets, prior: Weights, strength: Weights) -> Weights:
    """Return the weights that minimise the cost plus the squared distance from the prior times half its strength."""
    weights, number = prior.copy(), len(logits)
    total = _total(logits, targets, weights, prior, strength)
    for _ in range(MAX_ROUNDS):
        gradient, hessian = _slopes(logits, targets, weights)
        gradient += strength * (weights - prior)
        step = np.linalg.solve(hessian + np.diag(strength) + 1e-9 * np.eye(number), gradient)
        size = 1.0
        # Halve a step that would go too far.
        while (found := _total(logits, targets, weights - size * step, prior, strength)) > total and size > PRECISION:
            size /= 2
        if found > total:
            break
        weights, gained, total = weights - size * step, total - found, found
        if gained < PRECISION * max(total, 1.0):
            break
    return weights


def _total(logits: Sequence[AnyLogits], targets: Targets, weights: Weights, prior: Weights, strength: Weights) -> float:
    away = weights - prior
    return float(costs_of(logits, weights[None], targets).sum() + (strength * away * away).sum() / 2)


def _slopes(logits: Sequence[AnyLogits], targets: Targets, weights: Weights) -> tuple[Weights, Weights]:
    """Return the gradient of the cost, (members,), and its Hessian, (members, members)."""
    number = len(logits)
    gradient, hessian = np.zeros(number), np.zeros((number, number))
    for rows in _blocks(len(targets)):
        here = [each[rows].astype(np.float64) for each in logits]
        mixed = mix(here, weights[None])
        shares = np.exp(mixed - mixed.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        expected = np.stack([(shares * each).sum(-1) for each in here], -1)  # (n, members)
        seen = np.stack([np.take_along_axis(each, targets[rows][:, None], -1)[:, 0] for each in here], -1)
        gradient += (expected - seen).sum(0)
        hessian += [[(shares * one * other).sum() for other in here] for one in here]
        hessian -= expected.T @ expected
    return gradient, hessian


def _blocks(number: int) -> Iterator[slice]:
    """Yield rows in blocks, so that intermediate results stay small."""
    return (slice(start, start + BLOCK_ROWS) for start in range(0, number, BLOCK_ROWS))
