"""Weights are the best ones for what they were fitted to, and no text is measured with weights that have seen it."""

from __future__ import annotations

import numpy as np
import pytest
from mixed import V, experts, network

from charlm.evaluation.items import measure_part
from charlm.mixtures import fitting
from charlm.mixtures.cross_fitting import cross_fit
from charlm.mixtures.fitting import costs_of, fit_weights
from charlm.mixtures.mixture import Mixture
from charlm.text.splits import Part

RANDOM = np.random.default_rng


def drawn(weights: np.ndarray, number: int, seed: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Return logits of members, lengths, and characters drawn from a mixture with these weights."""
    random = RANDOM(seed)
    logits = [random.normal(0, 2, (number, 6)) for _ in range(weights.shape[1])]
    lengths = random.integers(0, len(weights), number)
    mixed = sum(each * weights[lengths, k, None] for k, each in enumerate(logits))
    shares = np.exp(mixed) / np.exp(mixed).sum(-1, keepdims=True)
    targets = (shares.cumsum(-1) < random.random((number, 1))).sum(-1)
    return logits, lengths, np.minimum(targets, 5)


def test_weights_that_a_text_was_drawn_with_are_found_again() -> None:
    true = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 1.1]])
    found = fit_weights(*drawn(true, 60_000, 0), 3)
    np.testing.assert_allclose(found, true, atol=0.03)


@pytest.mark.parametrize("members", [1, 2, 4])
def test_no_other_common_weights_are_better(members: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "RIDGE", 0.0)
    logits, lengths, targets = drawn(RANDOM(1).uniform(0, 1, (1, members)), 2_000, 2)
    best = fit_weights(logits, lengths, targets, 1)
    total = costs_of(logits, best, targets).sum()
    for seed in range(30):
        other = best + RANDOM(seed).normal(0, 0.01, best.shape)
        assert costs_of(logits, other, targets).sum() > total


def test_a_length_with_few_characters_keeps_close_to_what_all_agree_on() -> None:
    true = np.array([[0.3, 0.9], [0.3, 0.9]])
    logits, lengths, targets = drawn(true, 5_000, 3)
    lengths[:] = 0
    lengths[:3] = 1
    common, rare = fit_weights(logits, lengths, targets, 2)
    np.testing.assert_allclose(rare, common, atol=0.1)
    # A length that never occurs has nothing to depart for.
    np.testing.assert_allclose(fit_weights(logits, lengths, targets, 3)[2], common, atol=0.02)


def test_two_members_that_say_the_same_share_their_weight() -> None:
    logits, lengths, targets = drawn(np.array([[0.8]]), 3_000, 4)
    found = fit_weights([*logits, *logits], lengths, targets, 1)
    assert found[0, 0] == pytest.approx(found[0, 1], abs=1e-6)
    assert found.sum() == pytest.approx(fit_weights(logits, lengths, targets, 1).item(), abs=1e-3)


def part(ids: np.ndarray, boundary: int | None = None) -> Part:
    return Part(ids.astype(np.uint32), "0" * 64, boundary=boundary)


def items() -> Part:
    """Return items of one to six characters, which begin and end with the boundary."""
    random = RANDOM(5)
    texts = [random.integers(0, V - 1, random.integers(1, 7)) for _ in range(80)]
    return part(np.concatenate([[V - 1], *(np.append(text, V - 1) for text in texts)]), boundary=V - 1)


def test_each_half_is_measured_with_weights_fitted_to_the_other() -> None:
    members, val = experts(network(), network(seed=1)), part(RANDOM(6).integers(0, V, 501))
    logits, lengths, _ = members.predict(val.ids[:-1, None], members.initial_state(1))
    rows, lengths, targets = [each[:, 0] for each in logits], lengths[:, 0], val.ids[1:].astype(np.int64)
    halves = slice(0, 250), slice(250, 500)
    for own, other in (halves, halves[::-1]):
        weights = fit_weights([each[other] for each in rows], lengths[other], targets[other], members.num_lengths)
        expected = costs_of([each[own] for each in rows], weights[lengths[own]], targets[own])
        np.testing.assert_allclose(cross_fit(members, val).costs[own], expected, atol=1e-4)


def test_items_are_halved_between_two_of_them_and_each_is_read_by_itself() -> None:
    members, val = experts(network(), network(seed=1), order=None), items()
    fit = cross_fit(members, val)
    boundaries = np.flatnonzero(val.ids == val.boundary)
    middle = int(boundaries[(len(boundaries) - 1) // 2])
    for own, other in ((slice(0, middle), val.ids[middle:]), (slice(middle, None), val.ids[: middle + 1])):
        weights, costs = cross_fit(members, part(other, val.boundary)).weights, list[float]()
        measure_part(Mixture(members, weights), val, observe=lambda found, into=costs: into.extend(found.tolist()))
        np.testing.assert_allclose(fit.costs[own], costs[own], atol=1e-5)


def test_the_weights_that_are_kept_are_fitted_to_all_of_it() -> None:
    members, val = experts(network(), network(seed=1)), part(RANDOM(7).integers(0, V, 800))
    fit = cross_fit(members, val)
    logits, lengths, _ = members.predict(val.ids[:-1, None], members.initial_state(1))
    rows = [each[:, 0] for each in logits]
    expected = fit_weights(rows, lengths[:, 0], val.ids[1:].astype(np.int64), members.num_lengths)
    np.testing.assert_allclose(fit.weights, expected, atol=1e-4)
    own = measure_part(Mixture(members, np.eye(len(members))[:1].repeat(members.num_lengths, 0)), val).main
    assert fit.alone[0] == pytest.approx(own.nats_per_char, abs=1e-6)


def test_of_a_long_split_the_beginning_of_each_half_is_fitted_and_all_of_it_is_measured() -> None:
    members, val = experts(network(), network(seed=1)), part(RANDOM(8).integers(0, V, 3_001))
    whole, cut = cross_fit(members, val), cross_fit(members, val, max_numbers=V * len(members) * 2 * 500)
    assert len(cut.costs) == 3_000
    assert (cut.costs > 0).all()
    assert cut.costs.mean() == pytest.approx(whole.costs.mean(), rel=0.05)
    np.testing.assert_allclose(cut.alone, whole.alone)
    assert not np.allclose(cut.weights, whole.weights, atol=1e-9)
