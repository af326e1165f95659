"""A mixture multiplies what its members predict; it is a distribution, and has the same bits however it reads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from mixed import V, draw, experts, network, weights_of

from charlm.evaluation.items import measure_part
from charlm.mixtures.mixture import Mixture, mix
from charlm.text.splits import Part


def plain(logits: list[float]) -> list[float]:
    total = sum(math.exp(each) for each in logits)
    return [math.exp(each) / total for each in logits]


@pytest.mark.parametrize("order", [None, 1, 5])
def test_a_mixture_is_the_normalised_product_of_powers_of_its_members(order: int | None) -> None:
    members = experts(network(), network("model.cell=gru", seed=1), order=order)
    weights, text = weights_of(members), draw(60, 1, 3)
    logits, _ = Mixture(members, weights).predict(text, members.initial_state(1))
    own, lengths, _ = members.predict(text, members.initial_state(1))
    for place in range(60):
        row = weights[lengths[place, 0]].tolist()
        shares = [plain(each[place, 0].tolist()) for each in own]
        product = [math.prod(p[v] ** w for p, w in zip(shares, row, strict=True)) for v in range(V)]
        expected = [each / sum(product) for each in product]
        np.testing.assert_allclose(plain(logits[place, 0].tolist()), expected, rtol=1e-4, atol=1e-9)


def test_the_measured_probabilities_of_all_symbols_sum_to_1_after_random_contexts() -> None:
    members = experts(network(), network(seed=1))
    for seed in range(40):
        mixture, context = Mixture(members, weights_of(members, seed)), draw(1 + seed, 1, seed)[:, 0]
        # Each symbol is measured in a text of its own, as `charlm eval` measures it.
        total = 0.0
        for symbol in range(V):
            costs: list[float] = []
            ids = np.append(context, symbol).astype(np.uint32)
            measure_part(mixture, Part(ids, "0" * 64), observe=lambda found, into=costs: into.extend(found.tolist()))
            total += math.exp(-costs[-1])
        assert abs(total - 1) < 1e-6


@pytest.mark.kernels
@pytest.mark.parametrize("overrides", [(), ("model.cell=lstm", "model.num_layers=2"), ("model.cell=rnn",)])
def test_single_steps_pieces_and_texts_side_by_side_give_the_same_bits(overrides: tuple[str, ...]) -> None:
    members = experts(network(*overrides), network(seed=1))
    assert members.is_batch_invariant
    mixture, texts = Mixture(members, weights_of(members)), draw(70, 5, 4)
    whole, _ = mixture.predict(texts, mixture.initial_state(5))
    for column in range(5):
        for size in (1, 3, 64):
            state: Any = mixture.initial_state(1)
            for start in range(0, 70, size):
                found, state = mixture.predict(texts[start : start + size, column : column + 1], state)
                np.testing.assert_array_equal(found[:, 0], whole[start : start + size, column])


def test_a_member_that_torch_runs_ends_the_promise_of_equal_bits() -> None:
    members = experts(network(), network("model.implementation=torch"))
    assert not members.is_batch_invariant
    logits, _ = Mixture(members, weights_of(members)).predict(draw(5, 2, 0), members.initial_state(2))
    assert logits.shape == (5, 2, V)


def test_weights_are_taken_by_the_length_of_the_known_context() -> None:
    members = experts(network(), order=4)
    text = draw(40, 1, 5)
    own, lengths, _ = members.predict(text, members.initial_state(1))
    assert {0, 1, 2} < set(lengths.ravel().tolist()) or len(set(lengths.ravel().tolist())) > 1
    # Each length listens to one member alone.
    weights = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    logits, _ = Mixture(members, weights).predict(text, members.initial_state(1))
    for place, length in enumerate(lengths[:, 0].tolist()):
        alone = own[length % 2][place, 0]
        np.testing.assert_allclose(plain(logits[place, 0].tolist()), plain(alone.tolist()), rtol=1e-4)


def test_mixing_adds_weighted_logits() -> None:
    one, two = np.array([[1.0, 2.0]]), np.array([[10.0, 20.0]], np.float32)
    np.testing.assert_array_equal(mix([one, two], np.array([[2.0, 0.5]])), [[7.0, 14.0]])
