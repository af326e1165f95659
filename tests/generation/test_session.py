"""Texts in progress: however they are begun, cut, read on and gone on with, they are the texts of one go."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pairs import one_in
from predicting import predictor, sample_texts

from charlm.errors import TextError
from charlm.generation import session as sessions
from charlm.generation.draws import uniform_draws, uniform_numbers
from charlm.generation.filters import Filters
from charlm.generation.session import BLOCK_ROWS, Progress, Session
from charlm.networks.building import build_model
from charlm.networks.language_model import CharLM
from charlm.settings.model import ModelSettings
from charlm.text.vocabulary import Ids, Vocabulary

VOCABULARY = Vocabulary("abcdef")
PREFIX = VOCABULARY.encode("abba")
IMPLEMENTATIONS = ["torch", "reference", pytest.param("native", marks=pytest.mark.kernels)]
pytestmark = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)


def build(implementation: str, **settings: Any) -> CharLM:
    """Return a small model whose distributions differ from step to step."""
    model = ModelSettings(cell="lstm", hidden_size=8, num_layers=2, implementation=implementation, **settings)
    network = build_model(model, len(VOCABULARY), seed=0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 4
    return network


def session_of(implementation: str) -> Session:
    return Session(predictor(build(implementation), VOCABULARY), VOCABULARY)


def write(session: Session, progress: Progress, length: int, **options: Any) -> tuple[list[str], Progress]:
    """Return what is written, a text for each sample, and the texts after it."""
    pieces = list(session.write(progress, length=length, **options))
    ids = np.concatenate([np.empty((0, len(progress.samples)), np.int64), *(piece for piece, _ in pieces)])
    return [VOCABULARY.decode(row) for row in ids.T], pieces[-1][1] if pieces else progress


@pytest.mark.parametrize("samples", [range(1), range(3, 4), range(2, 6), range(8, 9), range(19, 22)])
@pytest.mark.parametrize("lengths", one_in(2, [(5, 7), (1, 1, 1), (0, 40), (300, 100)]))
def test_pieces_join_to_the_text_that_is_written_in_one_go(
    implementation: str, samples: range, lengths: tuple[int, ...]
) -> None:
    session, filters = session_of(implementation), Filters(temperature=0.9, top_k=5)
    written = [""] * len(samples)
    progress = session.begin(PREFIX, samples)
    for length in lengths:
        more, progress = write(session, progress, length, seed=7, filters=filters, at_once=3)
        written = [text + piece for text, piece in zip(written, more, strict=True)]
    whole = sample_texts(
        build(implementation),
        VOCABULARY,
        PREFIX,
        num_samples=samples.stop,
        seed=7,
        length=sum(lengths),
        filters=filters,
    )
    assert written == list(whole)[samples.start :]
    assert progress.num_drawn == sum(lengths)


def test_any_moment_can_be_gone_on_from_again(implementation: str) -> None:
    session = session_of(implementation)
    pieces = list(session.write(session.begin(PREFIX), length=30, at_once=7))
    text = "".join(VOCABULARY.decode(ids[:, 0]) for ids, _ in pieces)
    # In any order: what was gone on from is not changed.
    for _, progress in [*reversed(pieces), *pieces]:
        done = progress.num_drawn
        assert write(session, progress, 30 - done)[0] == [text[done:]]
        assert write(session, progress, 30 - done)[0] == [text[done:]]


@pytest.mark.parametrize("samples", [range(1), range(9, 12)])
def test_what_is_written_and_then_read_again_is_the_same_text(implementation: str, samples: range) -> None:
    session = session_of(implementation)
    (text, *_), progress = write(session, session.begin(PREFIX, samples), 12, at_once=5)
    alone = range(samples.start, samples.start + 1)
    read = session.begin(np.concatenate([PREFIX, VOCABULARY.encode(text)]), alone)
    read_on = session.read(session.begin(PREFIX, alone), VOCABULARY.encode(text))
    # Torch rounds many steps at once in another way than single ones.
    tolerance = 1e-5 if implementation == "torch" else 0.0
    for each in (read, read_on):
        np.testing.assert_allclose(session.logits(each)[0], session.logits(progress)[0], rtol=0.0, atol=tolerance)


def test_the_logits_are_those_of_the_network(implementation: str) -> None:
    session, network = session_of(implementation), build(implementation).eval()
    progress = session.read(session.begin(PREFIX), VOCABULARY.encode("cde"))
    ids = torch.from_numpy(VOCABULARY.encode("abbacde").astype(np.int64))[:, None]
    with torch.no_grad():
        logits, _ = network(ids, network.initial_state(1))
    assert session.logits(progress).shape == (1, len(VOCABULARY))
    torch.testing.assert_close(torch.from_numpy(session.logits(progress)[0].copy()), logits[-1, 0])


def test_a_character_that_is_given_takes_no_random_number(implementation: str) -> None:
    session = session_of(implementation)
    longer = np.concatenate([PREFIX, VOCABULARY.encode("f")])
    given_one = session.read(session.begin(PREFIX), VOCABULARY.encode("f"))
    assert given_one.num_drawn == 0
    assert write(session, given_one, 20)[0] == write(session, session.begin(longer), 20)[0]


def test_a_text_that_is_read_in_parts_is_the_same(implementation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    session, ids = session_of(implementation), np.tile(PREFIX, 5)
    whole = write(session, session.begin(ids), 20)[0]
    monkeypatch.setattr(sessions, "PREFIX_CHARS_AT_ONCE", 3)
    assert write(session, session.begin(ids), 20)[0] == whole


def test_an_empty_prefix_is_refused(implementation: str) -> None:
    empty: Ids = PREFIX[:0]
    with pytest.raises(TextError, match="prefix is empty"):
        session_of(implementation).begin(empty)


@given(st.integers(0, 2**63 - 1), st.integers(0, 1_000), st.integers(1, 3), st.integers(0, 700), st.integers(0, 300))
def test_any_part_of_the_random_numbers_can_be_had(
    implementation: str, seed: int, first: int, num_samples: int, start: int, number: int
) -> None:
    del implementation
    samples = range(first, first + num_samples)
    whole = np.stack([np.random.default_rng([seed, sample]).random(start + number) for sample in samples], axis=1)
    assert np.array_equal(uniform_numbers(seed, samples, start, number), whole[start:])
    one_by_one = uniform_draws(seed, samples, start=start)
    assert all(np.array_equal(next(one_by_one), row) for row in whole[start:])


def test_samples_of_one_block_are_as_many_as_it_has(implementation: str) -> None:
    session = session_of(implementation)
    texts, _ = write(session, session.begin(PREFIX, range(BLOCK_ROWS)), 10)
    assert len(set(texts)) == BLOCK_ROWS
