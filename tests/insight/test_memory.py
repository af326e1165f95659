"""Memory used equals a plain loop that reads the last k characters; the intervals cover; items are never crossed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from inspected import BOUNDARY, CELLS, V, build, draw_items, draw_text, every_network

from charlm.errors import DivergedError
from charlm.evaluation.items import measure_items
from charlm.evaluation.ngrams import fit_ngrams, ngram_nats
from charlm.evaluation.reading import measure_text
from charlm.insight import memory, samples
from charlm.insight.memory import MemoryUsed, measure_memory
from charlm.insight.samples import Sample
from charlm.networks.building import build_model
from charlm.networks.inputs import as_tensor
from charlm.networks.language_model import CharLM
from charlm.networks.native_predictor import NativePredictor
from charlm.networks.torch_predictor import TorchPredictor, predictor_of
from charlm.settings.model import ModelSettings
from charlm.text.vocabulary import Ids


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spend less time on intervals."""
    monkeypatch.setattr(samples, "NUM_RESAMPLES", 200)


def plain_cost(network: CharLM, ids: Ids, place: int, length: int) -> float:
    """Return what a character costs after `length` characters before it, read from the initial state."""
    network.eval()
    with torch.no_grad():
        logits, _ = network(as_tensor(ids[place - length : place, None], network))
    return -torch.log_softmax(logits[-1, 0], dim=-1)[int(ids[place])].item()


def measured(network: CharLM, ids: Ids, **options: Any) -> MemoryUsed:
    return measure_memory(TorchPredictor(network), ids, **options)


@pytest.mark.parametrize(("cell", "other"), every_network())
def test_each_length_equals_a_plain_loop(cell: str, other: str) -> None:
    network, ids = build(cell, other), draw_text(45)
    found = measured(network, ids, num_positions=6)
    assert [each.length for each in found.lengths] == [1, 2, 4, 8, 16]
    assert all(16 <= place < 45 for place in found.sample.places)
    everything = [plain_cost(network, ids, place, place) for place in found.sample.places]
    assert found.everything.mean == pytest.approx(np.mean(everything), rel=1e-6)
    for each in found.lengths:
        expected = [plain_cost(network, ids, place, each.length) for place in found.sample.places]
        assert each.nats.mean == pytest.approx(np.mean(expected), rel=1e-6)
        assert each.excess.mean == pytest.approx(np.mean(expected) - np.mean(everything), abs=1e-6)


@pytest.mark.parametrize(("cell", "other"), every_network())
def test_reading_never_crosses_the_begin_of_an_item(cell: str, other: str) -> None:
    network, ids = build(cell, other), draw_items(8)
    found = measured(network, ids, boundary=BOUNDARY)
    # Every character and every end is a position.
    assert found.sample.places == tuple(range(1, len(ids)))
    begins = [max(at for at in np.flatnonzero(ids == BOUNDARY) if at < place) for place in found.sample.places]
    for each in found.lengths:
        sizes = [min(each.length, place - begin) for place, begin in zip(found.sample.places, begins, strict=True)]
        expected = [plain_cost(network, ids, *pair) for pair in zip(found.sample.places, sizes, strict=True)]
        assert each.nats.mean == pytest.approx(np.mean(expected), rel=1e-6)
    assert found.everything.mean == pytest.approx(measure_items(network, ids, BOUNDARY).main.nats_per_char, rel=1e-6)


def test_the_lengths_of_items_end_where_every_item_is_read_whole() -> None:
    network, ids = build("gru"), draw_items(8)
    longest = int(np.diff(np.flatnonzero(ids == BOUNDARY)).max())
    found = measured(network, ids, boundary=BOUNDARY)
    assert found.lengths[-2].length < longest <= found.lengths[-1].length
    assert found.lengths[-1].excess.mean == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("length", [40, 1_000])
def test_a_length_beyond_the_text_is_the_full_reading(length: int) -> None:
    network, ids = build("lstm"), draw_text(40)
    (found,) = (result := measured(network, ids, lengths=[length])).lengths
    assert found.nats.mean == pytest.approx(result.everything.mean, rel=1e-6)
    assert (found.excess.low, found.excess.high) == pytest.approx((0, 0), abs=1e-6)


def test_everything_is_the_cost_of_the_text_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, ids, costs = build("lstm"), draw_text(500), []
    measure_text(network, ids, observe=costs.extend)
    for size in (7, 100, 2_048):
        monkeypatch.setattr(memory, "PIECE_CHARS", size)
        found = measured(network, ids, lengths=[1], num_positions=50)
        assert found.everything.mean == pytest.approx(found.sample.pick(np.array(costs)).mean(), rel=1e-6)


@pytest.mark.parametrize(
    ("num_chars", "longest", "num_positions"), [(2, 1, 1), (3, 1, 2), (100, 32, 68), (1_024, 512, 512)]
)
def test_a_short_text_has_shorter_lengths_and_fewer_positions(num_chars: int, longest: int, num_positions: int) -> None:
    found = measured(build("rnn tanh"), draw_text(num_chars))
    assert found.lengths[-1].length == longest
    assert len(found.sample.places) == num_positions
    assert min(found.sample.places) >= longest


@pytest.mark.kernels
@pytest.mark.parametrize("batch_chars", [1, 70, 65_536])
@pytest.mark.parametrize("cell", ["rnn tanh", "rnn relu", "gru", "gru before", "lstm"])
def test_the_kernels_give_the_same(cell: str, batch_chars: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "BATCH_CHARS", batch_chars)
    network = build_model(ModelSettings(hidden_size=6, num_layers=2, **CELLS[cell]), V, seed=0)
    assert isinstance(network, CharLM)
    predictor = predictor_of(network, V)
    assert isinstance(predictor, NativePredictor)
    for ids, boundary in ((draw_text(60), None), (draw_items(), BOUNDARY)):
        native = measure_memory(predictor, ids, boundary=boundary, num_positions=20)
        plain = measured(network, ids, boundary=boundary, num_positions=20)
        for one, other in zip(native.lengths, plain.lengths, strict=True):
            assert vars(one.nats) == pytest.approx(vars(other.nats), rel=1e-5)


def test_the_positions_depend_on_the_seed_alone() -> None:
    network, ids = build("gru"), draw_text(300)
    first, again, another = (measured(network, ids, num_positions=20, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.sample != another.sample
    assert len(set(first.sample.places)) == 20


def test_progress_ends_with_the_total() -> None:
    told: list[tuple[int, int]] = []
    measured(build("gru"), draw_items(), boundary=BOUNDARY, report=lambda *each: told.append(each))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert {total for _, total in told} == {told[-1][0]}


def test_the_costs_of_ngrams_stand_at_the_same_positions() -> None:
    ids = draw_text(300)
    costs = ngram_nats(fit_ngrams(draw_text(500, seed=1), V, 2), ids, V)
    found = measured(build("rnn tanh"), ids, num_positions=30)
    expected = [costs[place - 1] for place in found.sample.places]
    assert found.sample.estimate(found.sample.pick(costs)).mean == pytest.approx(np.mean(expected))


def test_a_diverged_network_is_refused() -> None:
    network = build("rnn tanh")
    network.decoder.bias.data[:] = math.nan
    with pytest.raises(DivergedError, match="diverged"):
        measured(network, draw_text())


# The intervals.


def draw_costs(num_texts: int, length: int, *, correlation: float, seed: int = 0) -> np.ndarray:
    """Return costs, (texts, length), of mean 0 and variance 1, each like the one before it."""
    noise = np.random.default_rng(seed).standard_normal((length, num_texts))
    costs = noise.copy()
    for at in range(1, length):
        costs[at] = correlation * costs[at - 1] + np.sqrt(1 - correlation**2) * noise[at]
    return costs.T


@pytest.mark.parametrize(("length", "num_positions"), [(2_000, 1_000), (12_000, 500)])
def test_the_interval_covers_the_mean_of_other_texts_in_about_95_of_100(length: int, num_positions: int) -> None:
    covered = []
    for seed, costs in enumerate(draw_costs(100, length, correlation=0.9)):
        places = np.sort(np.random.default_rng(seed).choice(length, num_positions, replace=False))
        estimate = Sample(tuple(places.tolist()), length).estimate(costs[places], seed=seed)
        covered.append(estimate.low <= 0 <= estimate.high)
    # Of 20 blocks the percentile bootstrap covers about 92 %; the share of 100 texts has a deviation of 2.5 %.
    assert 0.85 <= np.mean(covered) <= 0.99


def test_an_interval_equals_a_plain_bootstrap_of_blocks() -> None:
    places = np.array([1, 5, 8, 9, 11, 26, 27, 30, 31, 39])
    values = np.random.default_rng(0).standard_normal(10)
    sample = Sample(tuple(places.tolist()), 200)
    assert sample.block_chars == 10
    blocks = [values[places // 10 == block] for block in (0, 1, 2, 3)]
    means = []
    for times in np.random.default_rng(3).multinomial(4, [0.25] * 4, samples.NUM_RESAMPLES):
        drawn = [value for block, number in zip(blocks, times, strict=True) for value in [*block] * int(number)]
        means.append(np.mean(drawn))
    estimate = sample.estimate(values, seed=3)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))
    assert estimate.mean == pytest.approx(values.mean())
