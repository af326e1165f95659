"""A result: nats are summed over one stream, the N-1 predicted characters are counted, and there is one division."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from charlm.evaluation.figure import Figure
from charlm.evaluation.reading import measure_text
from charlm.networks.building import build_model
from charlm.networks.language_model import CharLM
from charlm.settings.model import ModelSettings
from charlm.text.vocabulary import Ids

V, N = 11, 300
CELLS = ["rnn", "gru", "lstm"]
IMPLEMENTATIONS = ["torch", "reference", pytest.param("native", marks=pytest.mark.kernels)]
# Sums of 300 float64 terms in another order; the kernels have only float32.
SAME = {"rel": 1e-12}
NATIVE_SAME = {"rel": 1e-6}


def build(cell: str = "gru", implementation: str = "auto", **others: Any) -> CharLM:
    """Return a small model, in float64 where the implementation has it, that is far from sure and far from uniform."""
    model = ModelSettings(cell=cell, hidden_size=8, implementation=implementation, **others)
    network = build_model(model, V, seed=0)
    if implementation != "native":
        network = network.double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 3
    return network


def same_for(implementation: str) -> dict[str, float]:
    return NATIVE_SAME if implementation == "native" else SAME


def measure(network: CharLM, ids: Ids, **options: Any) -> Figure:
    """Return the single result of a causal model."""
    return measure_text(network, ids, **options).main


def draw_ids(length: int = N, seed: int = 0) -> Ids:
    return np.random.default_rng(seed).integers(V, size=length).astype(np.uint8)


@pytest.mark.parametrize("vocab_size", [2, 3, 27, 65, 256])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_uniform_logits_give_exactly_log2_of_the_vocabulary(implementation: str, vocab_size: int) -> None:
    model = ModelSettings(hidden_size=8, implementation=implementation)
    network = build_model(model, vocab_size, seed=0).double()
    with torch.no_grad():
        network.decoder.weight.zero_()
        network.decoder.bias.fill_(1.5)
    ids = np.random.default_rng(0).integers(vocab_size, size=N).astype(np.uint8)
    figure = measure(network, ids)
    assert figure.num_predicted == N - 1
    assert figure.bits_per_char == pytest.approx(math.log2(vocab_size), rel=1e-12)
    assert figure.perplexity == pytest.approx(vocab_size, rel=1e-12)


@pytest.mark.parametrize("length", [2, 3, N])
def test_every_character_but_the_first_is_counted(length: int) -> None:
    assert measure(build(), draw_ids(length)).num_predicted == length - 1


def scalar_nats(network: CharLM, ids: Ids) -> float:
    """Return the total cost of a text, read one character at a time."""
    network.eval()
    state, total = network.initial_state(1), 0.0
    for current, following in zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True):
        logits, state = network(torch.tensor([[current]]), state)
        scores = logits[0, 0].tolist()
        total += math.log(sum(math.exp(score) for score in scores)) - scores[following]
    return total


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_the_result_equals_a_scalar_loop(cell: str, implementation: str) -> None:
    network, ids = build(cell, implementation, num_layers=2), draw_ids(60)
    figure = measure(network, ids, chunk_chars=7)
    assert figure.nats == pytest.approx(scalar_nats(network, ids), **same_for(implementation))
    # The result depends on the text: it is not close to that of a uniform model.
    assert abs(figure.nats_per_char - math.log(V)) > 1e-2


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("chunk_chars", [1, 7, 64, N - 1, N])
def test_the_result_is_the_same_for_any_chunk_size(cell: str, implementation: str, chunk_chars: int) -> None:
    network, ids = build(cell, implementation), draw_ids()
    whole = measure(network, ids)
    found = measure(network, ids, chunk_chars=chunk_chars)
    assert found.num_predicted == whole.num_predicted
    assert found.nats == pytest.approx(whole.nats, **same_for(implementation))


@pytest.mark.parametrize("chunk_chars", [1, 7, 64])
def test_in_float32_the_result_is_the_same_within_1e_5_nats(chunk_chars: int) -> None:
    network, ids = build("lstm").float(), draw_ids()
    whole = measure(network, ids)
    # 1e-7 for each number, and errors that the state carries fade.
    assert measure(network, ids, chunk_chars=chunk_chars).nats_per_char == pytest.approx(whole.nats_per_char, abs=1e-5)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_evaluating_twice_gives_the_same_to_the_last_bit(cell: str, implementation: str) -> None:
    network, ids = build(cell, implementation), draw_ids()
    assert measure(network, ids) == measure(network, ids)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_the_width_of_the_ids_does_not_matter(dtype: type) -> None:
    network, ids = build(), draw_ids()
    assert measure(network, ids.astype(dtype)) == measure(network, ids)


@pytest.mark.parametrize("is_training", [True, False])
def test_the_training_mode_is_restored_and_dropout_never_acts(is_training: bool) -> None:
    network = build(num_layers=2, dropout=0.9).train(is_training)
    without = build(num_layers=2)
    ids = draw_ids()
    assert measure(network, ids) == measure(without, ids)
    assert all(module.training is is_training for module in network.modules())


def test_evaluating_changes_neither_weights_nor_the_random_generator() -> None:
    network, ids = build(num_layers=2, dropout=0.5), draw_ids()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    generator_before = torch.get_rng_state()
    measure(network, ids)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator_before)
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("max_chars", [2, 3, 100, N - 1, N, N + 1, 10 * N])
def test_max_chars_reads_the_beginning_only(max_chars: int) -> None:
    network, ids = build(), draw_ids()
    found = measure(network, ids, max_chars=max_chars, chunk_chars=16)
    assert found == measure(network, ids[:max_chars], chunk_chars=16)
    assert found.num_predicted == min(N, max_chars) - 1


def test_the_report_counts_up_to_the_predicted_characters() -> None:
    reported: list[int] = []
    measure(build(), draw_ids(10), chunk_chars=4, report=reported.append)
    assert reported == [4, 8, 9]


@pytest.mark.parametrize(("nats", "num_predicted"), [(0.0, 1), (10.0, 4), (1234.5, 1000)])
def test_rates_are_derived_from_the_sum_and_the_count(nats: float, num_predicted: int) -> None:
    figure = Figure(nats, num_predicted)
    assert figure.nats_per_char == nats / num_predicted
    assert figure.bits_per_char == pytest.approx(math.log2(math.e) * nats / num_predicted, rel=1e-15)
    assert figure.perplexity == pytest.approx(2**figure.bits_per_char, rel=1e-14)


def test_a_perplexity_beyond_floats_is_infinite() -> None:
    assert Figure(1e6, 10).perplexity == math.inf
    assert math.isinf(Figure(math.inf, 10).perplexity)
