"""The kernels write the same text as the plain loop, however it is requested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from pairs import by_pairs, one_in
from predicting import CELLS, predictor, sample_text, sample_texts

from charlm.generation import native_writer as writing
from charlm.generation import session
from charlm.generation.filters import PLAIN, Filters, filter_logits
from charlm.generation.sampling import INVARIANT_ROWS
from charlm.kernels.library import Kernels, load_kernels
from charlm.kernels.processor import best_instruction_set
from charlm.networks import native_predictor
from charlm.networks.building import build_model
from charlm.networks.language_model import CharLM
from charlm.networks.native_predictor import ArrayState, NativePredictor
from charlm.networks.torch_predictor import predictor_of, writing_half
from charlm.settings.model import ModelSettings
from charlm.text.vocabulary import Vocabulary

# Each cell, depth, kind of input, filter and an odd and an even size of everything at least once.
CASES: dict[str, tuple[str, dict[str, Any], Filters, int]] = {
    "plain rnn": ("rnn tanh", {"hidden_size": 40}, Filters(), 29),
    "calm relu": ("rnn relu", {"hidden_size": 33, "num_layers": 2}, Filters(temperature=0.8), 65),
    "greedy gru": ("gru", {"hidden_size": 24, "num_layers": 2, "embedding_size": 7}, Filters(temperature=0.0), 29),
    "likeliest of a gru": ("gru", {"hidden_size": 64, "num_layers": 3}, Filters(top_k=5), 65),
    "nucleus of the old gru": ("gru before", {"hidden_size": 50, "embedding_size": 12}, Filters(top_p=0.9), 65),
    "calm old gru": ("gru before", {"hidden_size": 17, "num_layers": 2}, Filters(temperature=0.8, min_p=0.05), 200),
    "plain lstm": ("lstm", {"hidden_size": 64, "num_layers": 2}, Filters(), 65),
    "lstm, all filters": (
        "lstm",
        {"hidden_size": 31, "num_layers": 3, "embedding_size": 5},
        Filters(temperature=1.3, top_k=20, top_p=0.95, min_p=0.01),
        29,
    ),
    "wide lstm": ("lstm", {"hidden_size": 300}, Filters(temperature=0.8), 129),
}
INSTRUCTION_SETS = ("aarch64",) if best_instruction_set() == "aarch64" else ("x86-64-v3", "x86-64-v4")
pytestmark = pytest.mark.kernels


def vocabulary_of(num_symbols: int, *, has_unknown: bool = False) -> Vocabulary:
    characters = "".join(chr(0x100 + index) for index in range(num_symbols - has_unknown))
    return Vocabulary(characters, has_unknown=has_unknown)


def build(name: str, num_symbols: int, *, implementation: str = "native", seed: int = 0, **sizes: Any) -> CharLM:
    """Return a model whose distributions are neither flat nor sure, and differ from step to step."""
    model = ModelSettings(**CELLS[name], **sizes, implementation=implementation)
    network = build_model(model, num_symbols, seed=seed)
    with torch.no_grad():
        network.decoder.weight *= 6
        # Stronger, a plain RNN is chaotic: two texts would part from the least rounding, whoever computes them.
        factor = {"rnn tanh": 1.5, "rnn relu": 1.0}.get(name, 3.0)
        for parameter in network.recurrent.parameters():
            parameter *= factor
    return network.eval()


def case_network(case: str, implementation: str = "native") -> tuple[CharLM, Vocabulary, Filters]:
    name, sizes, filters, num_symbols = CASES[case]
    return build(name, num_symbols, implementation=implementation, **sizes), vocabulary_of(num_symbols), filters


def write_ids(network: CharLM, vocabulary: Vocabulary, length: int, **options: Any) -> np.ndarray:
    text = "".join(sample_text(network, vocabulary, PREFIX, length=length, **options))
    return vocabulary.encode(text).astype(np.int64)


PREFIX = vocabulary_of(29).encode("ĀāĂă")


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize(("length", "num_seeds"), [(400, 8), pytest.param(5_000, 20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", one_in(2, CASES))
def test_each_character_is_what_the_reference_would_have_drawn_after_the_same_text(
    case: str, length: int, num_seeds: int
) -> None:
    network, vocabulary, filters = case_network(case)
    reference, _, _ = case_network(case, "reference")
    reference.load_state_dict(network.state_dict())
    written = [write_ids(network, vocabulary, length, seed=seed, filters=filters) for seed in range(num_seeds)]
    draws = [np.random.default_rng([seed, 0]).random(length) for seed in range(num_seeds)]
    # One pass over what was written: had the reference differed anywhere, its text would differ from there on.
    texts = torch.from_numpy(np.stack([np.concatenate([PREFIX, ids]) for ids in written], axis=1))  # (T, seeds)
    with torch.no_grad():
        logits, _ = reference.double()(texts[:-1], reference.initial_state(num_seeds))
    cumulative = filter_logits(logits[len(PREFIX) - 1 :].numpy(), filters).cumsum(-1)  # (length, seeds, V)
    uniform = np.stack(draws, axis=1)[..., None] * cumulative[..., -1:]
    expected = np.minimum((cumulative <= uniform).sum(-1), cumulative.shape[-1] - 1)
    found = np.stack(written, axis=1)
    assert len(np.unique(found)) > 2
    for place in np.argwhere(found != expected):
        # Float32 moves a boundary by some 1e-6: only a draw that close to one may fall on its other side.
        gaps = np.abs(cumulative[tuple(place)] - uniform[tuple(place)])
        assert gaps.min() < 1e-5, f"character {place[0]} of seed {place[1]}"
        assert abs(found[tuple(place)] - expected[tuple(place)]) == 1


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("case", one_in(2, CASES))
def test_the_text_is_the_reference_implementations(case: str) -> None:
    network, vocabulary, filters = case_network(case)
    reference, _, _ = case_network(case, "reference")
    reference.load_state_dict(network.state_dict())
    for seed in (0, 1, 2**63 - 1):
        options = {"length": 150, "seed": seed, "sample": 3, "filters": filters}
        found = "".join(sample_text(network, vocabulary, PREFIX, **options))
        assert found == "".join(sample_text(reference, vocabulary, PREFIX, **options))
        assert len(found) == 150


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("name", CELLS)
def test_a_text_is_the_same_alone_and_among_others(name: str) -> None:
    network, vocabulary = build(name, 29, hidden_size=33, num_layers=2), vocabulary_of(29)
    many = list(sample_texts(network, vocabulary, PREFIX, num_samples=INVARIANT_ROWS + 2, length=200))
    assert len(set(many)) == INVARIANT_ROWS + 2
    for number in (1, 3, 4, INVARIANT_ROWS):
        assert list(sample_texts(network, vocabulary, PREFIX, num_samples=number, length=200)) == many[:number]
    for sample in (0, 1, 3, 17, INVARIANT_ROWS - 1, INVARIANT_ROWS, INVARIANT_ROWS + 1):
        assert "".join(sample_text(network, vocabulary, PREFIX, sample=sample, length=200)) == many[sample]


def write_directly(
    network: CharLM, num_texts: int, threads: int, *, num_characters: int = 29, **filters: Any
) -> tuple[np.ndarray, ArrayState]:
    """Return 30 ids of each text and the final state, from a state that is not zero."""
    generator = torch.Generator().manual_seed(0)
    state = tuple(
        (torch.randn(part.shape, generator=generator) / 2).numpy() for part in network.initial_state(num_texts)
    )
    draws = np.random.default_rng(0).random((30, num_texts))
    return writing.write(predictor_of(network, num_characters), state, draws, Filters(**filters), threads=threads)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize(
    ("instruction_set", "num_texts", "name"),
    by_pairs(INSTRUCTION_SETS, (1, 2, 5), tuple(CELLS)),
    indirect=["instruction_set"],
)
def test_the_number_of_threads_changes_no_character_and_no_bit_of_the_state(name: str, num_texts: int) -> None:
    for sizes in ({"hidden_size": 3}, {"hidden_size": 100, "num_layers": 2}):
        network = build(name, 29, **sizes)
        ids, state = write_directly(network, num_texts, 1)
        for threads in (2, 3, 4):
            other_ids, other_state = write_directly(network, num_texts, threads)
            assert np.array_equal(other_ids, ids)
            assert all(map(np.array_equal, other_state, state))


@pytest.mark.parametrize("case", ["plain rnn", "nucleus of the old gru", "plain lstm", "lstm, all filters"])
def test_torchs_number_of_threads_changes_no_character(case: str, set_threads: Callable[[int], None]) -> None:
    network, vocabulary, filters = case_network(case)
    texts = {}
    for threads in (1, 2):
        set_threads(threads)
        texts[threads] = (
            "".join(sample_text(network, vocabulary, PREFIX, length=1_500, filters=filters)),
            list(sample_texts(network, vocabulary, PREFIX, num_samples=5, length=300, filters=filters)),
        )
    assert texts[1] == texts[2]


@pytest.mark.parametrize("name", CELLS)
def test_how_many_characters_a_call_writes_changes_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, vocabulary = build(name, 29, hidden_size=33, num_layers=2), vocabulary_of(29)
    whole = write_ids(network, vocabulary, 300)
    for at_once in (1, 7, 128, 1000):
        monkeypatch.setattr(session, "CHARS_AT_ONCE", at_once)
        assert np.array_equal(write_ids(network, vocabulary, 300), whole)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize(
    ("instruction_set", "num_texts", "embedding_size", "name"),
    by_pairs(INSTRUCTION_SETS, (1, 3, 4), (None, 6), tuple(CELLS)),
    indirect=["instruction_set"],
)
def test_the_state_after_writing_is_that_after_reading_what_was_written(
    name: str, embedding_size: int | None, num_texts: int
) -> None:
    # Weights as they come: errors of the last bit fade instead of growing.
    model = ModelSettings(
        **CELLS[name], hidden_size=40, num_layers=2, embedding_size=embedding_size, implementation="native"
    )
    network = build_model(model, 29, seed=0)
    ids, state = write_directly(network, num_texts, 1)
    generator = torch.Generator().manual_seed(0)
    start = tuple(torch.randn(part.shape, generator=generator) / 2 for part in network.initial_state(num_texts))
    _, expected = network.read(torch.from_numpy(ids), start)
    # The same kernels read: not a bit differs.
    assert all(np.array_equal(found, part.detach()) for found, part in zip(state, expected, strict=True))


def test_a_writer_does_not_change_its_arguments() -> None:
    network = build("lstm", 29, hidden_size=20)
    writer = predictor(network, vocabulary_of(29))
    state, draws = writer.initial_state(2), np.random.default_rng(0).random((50, 2))
    first, _ = writing.write(writer, state, draws, PLAIN, threads=1)
    assert not any(part.any() for part in state)
    assert np.array_equal(draws, np.random.default_rng(0).random((50, 2)))
    # Neither does it remember anything, and its weights are its own.
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    again, _ = writing.write(writer, state, draws, PLAIN, threads=1)
    assert np.array_equal(again, first)
    other = predictor(network, vocabulary_of(29))
    assert not np.array_equal(writing.write(other, state, draws, PLAIN, threads=1)[0], first)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("temperature", [0.0, 1.0, 100.0])
def test_the_unknown_symbol_is_never_drawn(temperature: float) -> None:
    network, vocabulary = build("gru", 17, hidden_size=20), vocabulary_of(17, has_unknown=True)
    with torch.no_grad():
        network.decoder.bias[-1] = 50.0
    filters = Filters(temperature=temperature)
    ids, _ = write_directly(network, 4, 1, num_characters=16, temperature=temperature)
    assert ids.min() >= 0
    assert ids.max() < 16
    texts = list(sample_texts(network, vocabulary, PREFIX, num_samples=3, length=300, filters=filters))
    assert set("".join(texts)) <= set(vocabulary.characters)
    assert [len(text) for text in texts] == [300] * 3


@pytest.mark.usefixtures("instruction_set")
def test_without_the_unknown_symbol_the_others_keep_their_proportions() -> None:
    network, without = build("gru", 17, hidden_size=20), build("gru", 16, hidden_size=20)
    weights = network.state_dict()
    weights["recurrent.weight_ih_l0"] = weights["recurrent.weight_ih_l0"][:, :16]
    for name in ("decoder.weight", "decoder.bias"):
        weights[name] = weights[name][:16]
    without.load_state_dict(weights)
    options = {"num_samples": 3, "length": 200}
    with_unknown = sample_texts(network, vocabulary_of(17, has_unknown=True), PREFIX, **options)
    assert list(with_unknown) == list(sample_texts(without, vocabulary_of(16), PREFIX, **options))


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("filters", [{}, {"top_k": 3}, {"top_k": 1}, {"top_p": 0.6}, {"top_p": 1e-9}, {"min_p": 0.5}])
def test_draws_at_the_ends_of_the_unit_interval_give_characters_that_are_kept(filters: dict[str, Any]) -> None:
    network = build("gru", 29, hidden_size=20)
    draws = np.tile([0.0, np.nextafter(1.0, 0.0)], (100, 1))
    writer = predictor(network, vocabulary_of(29))
    ids, _ = writing.write(writer, writer.initial_state(2), draws, Filters(**filters), threads=1)
    with torch.no_grad():
        logits, _ = network.double()(torch.from_numpy(ids))
    kept = filter_logits(logits[:-1].numpy(), Filters(**filters)) > 1e-12  # (99, 2, V)
    last = kept.shape[-1] - 1 - kept[:, 1, ::-1].argmax(-1)
    assert np.array_equal(ids[1:, 0], kept[:, 0].argmax(-1))
    assert np.array_equal(ids[1:, 1], last)


def loaded_kernels() -> Kernels:
    kernels = load_kernels()
    assert isinstance(kernels, Kernels)
    return kernels


def test_the_kernels_are_used_and_write_many_characters_per_call(monkeypatch: pytest.MonkeyPatch) -> None:
    network, vocabulary = build("lstm", 29, hidden_size=20), vocabulary_of(29)
    lengths: list[int] = []
    kernels = loaded_kernels()

    def spy(writer: int, call: Any) -> None:
        lengths.append(call.length)
        kernels.write(writer, call)

    monkeypatch.setattr(native_predictor, "load_kernels", lambda: replace(kernels, write=spy))
    list(sample_texts(network, vocabulary, PREFIX, num_samples=2, length=1_000))
    # The prefix is read in two calls, the last of which has the logits.
    assert sum(lengths) == len(PREFIX) + 1_000
    assert len(lengths) == 2 + -(-1_000 // writing.CHARS_AT_ONCE) < 20
    lengths.clear()
    for other in (build("lstm", 29, hidden_size=20, implementation="torch"), network.double()):
        assert not isinstance(predictor(other, vocabulary), NativePredictor)
        list(sample_texts(other, vocabulary, PREFIX, num_samples=2, length=20))
    assert not lengths


def test_a_bidirectional_models_forward_half_writes_natively() -> None:
    model = ModelSettings(cell="gru", hidden_size=20, direction="bidirectional", implementation="native")
    both = build_model(model, 29, seed=0)
    reference = build_model(model.model_copy(update={"implementation": "reference"}), 29, seed=0)
    options = {"num_samples": 3, "length": 100}
    assert isinstance(predictor(both, vocabulary_of(29)), NativePredictor)
    expected = sample_texts(writing_half(reference), vocabulary_of(29), PREFIX, **options)
    assert list(sample_texts(writing_half(both), vocabulary_of(29), PREFIX, **options)) == list(expected)


def test_every_writer_is_freed_when_its_text_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    network, vocabulary = build("gru", 29, hidden_size=20), vocabulary_of(29)
    made: list[int] = []
    freed: list[int] = []
    kernels = loaded_kernels()

    def spy_on_new(*arguments: Any) -> int:
        made.append(kernels.writer_new(*arguments))
        return made[-1]

    def spy_on_free(writer: int) -> None:
        freed.append(writer)
        kernels.writer_free(writer)

    spies = replace(kernels, writer_new=spy_on_new, writer_free=spy_on_free)
    monkeypatch.setattr(native_predictor, "load_kernels", lambda: spies)
    text = sample_text(network, vocabulary, PREFIX, length=10**12)
    assert len("".join(islice(text, 300))) == 300
    assert len(made) == 1
    assert freed == []
    del text
    assert freed == made
    list(sample_texts(network, vocabulary, PREFIX, num_samples=INVARIANT_ROWS + 1, length=10))
    assert len(made) == 3
    assert sorted(freed) == sorted(made)
