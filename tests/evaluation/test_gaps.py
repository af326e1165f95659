"""Gaps are scored as a code length and filled from both sides."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from predicting import sample_texts

from charlm.errors import ConfigError, TextError
from charlm.evaluation.gaps import measure_gaps
from charlm.generation.filters import Filters
from charlm.generation.infill import fill_gap
from charlm.networks.building import build_model
from charlm.networks.gibbs import Surroundings, sweep_gap
from charlm.networks.inputs import as_tensor
from charlm.settings.model import ModelSettings
from charlm.text.vocabulary import Vocabulary

V = 3
ABC = Vocabulary("abc")


@pytest.fixture(params=[("rnn", 1), ("gru", 2), ("lstm", 1)], ids=lambda stack: f"{stack[0]}-{stack[1]}")
def network(request):
    cell, num_layers = request.param
    model = ModelSettings(cell=cell, num_layers=num_layers, hidden_size=6, direction="bidirectional")
    built = build_model(model, V, seed=0).double()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.mul_(2.0)
    return built.eval()


def some_ids(length: int) -> np.ndarray:
    return np.random.default_rng(0).integers(V, size=length, dtype=np.uint8)


def conditional(network, ids: np.ndarray, t: int) -> torch.Tensor:
    """Return P(x_t | all the others) by reading both sides anew."""
    text = as_tensor(ids[:, None], network)
    forward, backward = network.forward_half, network.backward_half
    ahead = forward.read(text[:t], forward.initial_state(1))[0][-1, 0]
    behind = backward.read(text[t + 1 :].flip(0), backward.initial_state(1))[0][-1, 0]
    return torch.softmax(forward.decoder.weight @ ahead + backward.decoder.weight @ behind + network.both_bias, -1)


def forward_probabilities(network, ids: np.ndarray) -> torch.Tensor:
    """Return P(x_t | what precedes it) for each character but the first."""
    text = as_tensor(ids[:, None], network)
    logits, _ = network.forward_half(text[:-1], network.initial_state(1))
    return torch.softmax(logits[:, 0], -1).gather(1, text[1:])[:, 0]


def log_probability(half, known: np.ndarray, text: np.ndarray) -> float:
    """Return the log-probability of a text after a known one, each character read anew."""
    total = 0.0
    for end in range(len(text)):
        read = torch.from_numpy(np.concatenate([known, text[:end]]).astype(np.int64))[:, None]
        logits, _ = half(read, half.initial_state(1))
        total += logits[-1, 0].log_softmax(-1)[text[end]].item()
    return total


def test_both_sides_weigh_a_filling_by_the_probabilities_of_the_two_halves(network):
    ids = some_ids(14)
    score = measure_gaps(network, ids, gap=1, every=7, passes=30, chains=20)  # every character is drawn somewhere
    gaps = [6]
    bits = 0.0
    for t in gaps:
        before, after = ids[t - 6 : t], ids[t + 1 : t + 7]
        weights = []
        for character in range(V):
            middle = np.array([character])
            forward = log_probability(network.forward_half, ids[:t], np.concatenate([middle, after]))
            backward = log_probability(
                network.backward_half, ids[t + 1 :][::-1], np.concatenate([before, middle])[::-1]
            )
            weights.append(np.exp((forward + backward) / 2))
        share = weights[ids[t]] / sum(weights)
        bits -= np.log2(0.9 * share + 0.1 * forward_probabilities(network, ids)[t - 1].item())
    assert score.num_gaps == len(gaps)
    assert score.both_bits == pytest.approx(bits / len(gaps), rel=1e-9)


def test_forward_bits_are_the_forward_half_s_own(network):
    ids = some_ids(42)
    score = measure_gaps(network, ids, gap=3, every=8, passes=1, chains=1)
    positions = [start + offset for start in range(5, 35, 8) for offset in range(3)]
    bits = -forward_probabilities(network, ids)[[t - 1 for t in positions]].log2()
    assert score.forward_bits == pytest.approx(bits.mean().item(), rel=1e-9)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_probabilities_of_all_fillings_sum_to_one(network, seed):
    ids = some_ids(12)
    total = {"forward": 0.0, "both": 0.0}
    for filling in product(range(V), repeat=2):
        ids[5:7] = filling
        score = measure_gaps(network, ids, gap=2, every=7, passes=3, seed=seed)
        assert score.num_gaps == 1
        total["forward"] += 2 ** (-2 * score.forward_bits)
        total["both"] += 2 ** (-2 * score.both_bits)
    assert total["forward"] == pytest.approx(1.0, abs=1e-9)
    assert total["both"] == pytest.approx(1.0, abs=1e-9)


def test_a_text_without_a_gap_is_refused(network):
    with pytest.raises(TextError, match="too short for gaps of 5 in every 25"):
        measure_gaps(network, some_ids(25), gap=5, every=25)


def test_a_sweep_shows_each_place_its_conditional(network):
    ids = some_ids(11)
    text = as_tensor(ids[:, None], network)
    ahead, state = network.forward_half.read(text[:4], network.initial_state(1))
    behind, backward_state = network.backward_half.read(text[8:].flip(0), network.initial_state(1))
    sides = Surroundings(ahead[-1], state, behind[-1], backward_state)

    def choose(position: int, logits: torch.Tensor) -> torch.Tensor:
        torch.testing.assert_close(torch.softmax(logits[0], -1), conditional(network, ids, 4 + position))
        new = (ids[4 + position] + 1) % V
        ids[4 + position] = new
        return torch.tensor([new], dtype=torch.int64)

    gap = sweep_gap(network, text[4:8], sides, choose)
    assert gap[:, 0].tolist() == ids[4:8].tolist()


def test_a_filling_has_the_requested_length_and_is_the_same_for_any_number(network):
    prefix, suffix = some_ids(4), some_ids(5)
    many = list(fill_gap(network, ABC, prefix, suffix, length=6, num_samples=11, passes=3, seed=0))
    few = list(fill_gap(network, ABC, prefix, suffix, length=6, num_samples=2, passes=3, seed=0))
    assert many[:2] == few
    assert {len(text) for text in many} == {6}
    assert len(set(many)) > 1


@pytest.mark.parametrize("length", [0, -1])
def test_a_gap_without_a_character_is_refused(network, length):
    with pytest.raises(ConfigError, match="at least one character"):
        list(fill_gap(network, ABC, some_ids(4), some_ids(5), length=length))


def test_without_passes_a_filling_is_what_the_forward_half_writes(network):
    prefix = some_ids(4)
    written = list(sample_texts(network.forward_half, ABC, prefix, num_samples=3, length=5, seed=7))
    assert list(fill_gap(network, ABC, prefix, some_ids(3), length=5, num_samples=3, passes=0, seed=7)) == written


def test_at_temperature_zero_passes_settle_on_a_filling_that_no_single_change_improves(network):
    prefix, suffix = some_ids(4), some_ids(5)
    filters = Filters(temperature=0.0)
    (text,) = fill_gap(network, ABC, prefix, suffix, length=3, passes=50, filters=filters)
    (again,) = fill_gap(network, ABC, prefix, suffix, length=3, passes=51, filters=filters)
    whole = np.concatenate([prefix, ABC.encode(text), suffix])
    likeliest = [int(conditional(network, whole, 4 + place).argmax()) for place in range(3)]
    assert text != again or likeliest == ABC.encode(text).tolist()


def test_gibbs_passes_visit_fillings_as_often_as_their_stationary_law(network):
    # A gap of one character has no chain: the draws follow the conditional itself.
    prefix, suffix = some_ids(4), some_ids(5)
    num_samples = 2000
    drawn = list(fill_gap(network, ABC, prefix, suffix, length=1, num_samples=num_samples, passes=1, seed=3))
    whole = np.concatenate([prefix, some_ids(1), suffix])
    expected = conditional(network, whole, 4).detach().numpy()
    counts = np.array([drawn.count(character) for character in "abc"])
    # 3 standard deviations of a binomial count.
    assert np.all(np.abs(counts - num_samples * expected) < 3 * np.sqrt(num_samples * expected * (1 - expected)) + 1)
