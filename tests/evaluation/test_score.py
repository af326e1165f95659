"""Scores: the cost of each character and each line of a text, and how it is shown."""

from __future__ import annotations

import fcntl
import io
import json
import math
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pairs import by_pairs
from predicting import predictor
from processes import finish, run_code
from rich.cells import cell_len
from torch import Tensor
from typer.testing import Result

import charlm
from charlm.console.surprise import BANDS, show_characters, show_lines, visible
from charlm.errors import CharlmWarning, ConfigError, DivergedError, TextError
from charlm.evaluation.characters import ScoredCharacter, score_characters
from charlm.evaluation.lines import ScoredLine, join_lines, most_surprising, score_lines_alone
from charlm.evaluation.reading import measure_text
from charlm.evaluation.subject import Subject
from charlm.library.models import Model
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.building import Network, build_model
from charlm.runs.run import Run
from charlm.settings.model import LEAKY_WARNING, ModelSettings
from charlm.settings.schema import Settings
from charlm.text.vocabulary import Ids, Vocabulary

Charlm = Callable[..., Result]
Process = Callable[..., "subprocess.Popen[bytes]"]
VOCABULARY = Vocabulary("\nabcdefghij")
V, N = len(VOCABULARY), 41
CAUSAL = ("forward", "backward", "bidirectional")
FIELDS = ["position", "character", "probability", "bits", "rank", "likeliest", "likeliest_probability"]
CLOZE = ["cloze_probability", "cloze_bits"]
# Among others an accent, a family of three that are joined, overrides, a zero width space and a line separator.
STRANGE = (
    "e\u0301 漢字 👨\u200d👩\u200d👦 \u202eevil\u202c \u2066x\u2069 \u200b\xad\u2028 \x1b[2J\x07\x9b\t\u0915\u093f\r\n"
)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def build(direction: str = "forward", implementation: str = "torch", **options: Any) -> Network:
    """Return a small model that is far from sure and far from uniform."""
    model = ModelSettings(hidden_size=8, implementation=implementation, direction=direction, **options)
    network = build_model(model, V, seed=0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 3
    return network


def draw_ids(length: int = N, seed: int = 0) -> Ids:
    return np.random.default_rng(seed).integers(V, size=length).astype(np.uint8)


def scores(network: Any, ids: Ids, direction: str, **options: Any) -> list[ScoredCharacter]:
    return list(score_characters(network, ids, VOCABULARY, direction=direction, **options))


def lines_alone(network: Any, text: str, direction: str = "forward", **options: Any) -> list[ScoredLine]:
    ids = VOCABULARY.encode(text)
    return list(score_lines_alone(network, ids, VOCABULARY, direction=direction, **options))


def last_hidden(half: Any, ids: Ids) -> Tensor:
    """Return the last layer's state after some ids, one character at a time, (H,)."""
    state = half.initial_state(1)
    for number in ids.tolist():
        _, state = half.read(torch.tensor([[number]]), state)
    return state[0][-1, 0]


def logits_at(network: Network, ids: Ids, position: int, direction: str) -> tuple[Tensor, Tensor | None]:
    """Return the logits of one character, and those from both its sides, (V,), by reading all there is to read anew."""
    before, after = ids[:position], ids[:position:-1]
    if isinstance(network, BidirectionalLM):
        ahead, behind = last_hidden(network.forward_half, before), last_hidden(network.backward_half, after)
        both = network.forward_half.decoder.weight @ ahead + network.backward_half.decoder.weight @ behind
        return network.forward_half.decoder(ahead), both + network.both_bias
    return network.decoder(last_hidden(network, after if direction == "backward" else before)), None


@pytest.fixture(scope="module")
def models(tiny_settings: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """Return a model of each direction, trained a little."""
    folder = tmp_path_factory.mktemp("scored") / "runs"
    options = ("train.max_steps=40", "train.eval_every=40", "optimizer.learning_rate=0.02")
    return {
        direction: charlm.open_run(
            charlm.train(tiny_settings(f"model.direction={direction}", *options), name=direction, runs_dir=folder)
        )
        for direction in (*CAUSAL, "leaky")
    }


@pytest.fixture(scope="module")
def strange(tiny_settings: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Return a model of a text with everything that a terminal may stumble over."""
    folder = tmp_path_factory.mktemp("strange")
    (folder / "strange.txt").write_text(STRANGE * 40, encoding="utf-8", newline="")
    path = folder / "strange.txt"
    settings = tiny_settings(f"corpus.path='{path}'", "corpus.clean=none", "sample.prefixes=['漢']")
    return charlm.open_run(charlm.train(settings, name="strange", runs_dir=folder / "runs"))


# Without torch.


@pytest.mark.kernels
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize(
    "options",
    [{"cell": "rnn"}, {"cell": "gru", "num_layers": 2, "embedding_size": 5}, {"cell": "lstm"}],
    ids=lambda options: options["cell"],
)
def test_the_kernels_alone_give_every_result_of_the_network_to_the_bit(direction: str, options: dict[str, Any]) -> None:
    network, ids = build(direction, "native", **options), draw_ids(300)
    alone = predictor(network, VOCABULARY)
    for chunk_chars in (7, 2048):
        found, expected = (scores(model, ids, direction, chunk_chars=chunk_chars) for model in (alone, network))
        assert found == expected
    text = VOCABULARY.decode(ids)
    assert lines_alone(alone, text, direction) == lines_alone(network, text, direction)
    assert alone is not network


# Each character.


@pytest.mark.parametrize(
    ("direction", "cell", "implementation"),
    by_pairs(CAUSAL, ("rnn", "gru", "lstm"), ("torch", "reference", "native")),
)
def test_each_score_equals_reading_the_whole_text_again_for_each_character(
    direction: str, cell: str, implementation: str
) -> None:
    network, ids = build(direction, implementation, cell=cell, num_layers=2), draw_ids()
    found = scores(network, ids, direction, chunk_chars=16)
    assert [each.position for each in found] == list(range(N))
    assert "".join(each.character for each in found) == VOCABULARY.decode(ids)
    unpredicted = N - 1 if direction == "backward" else 0
    with torch.no_grad():
        for position, each in enumerate(found):
            if position == unpredicted:
                continue
            logits, both = logits_at(network, ids, position, direction)
            chances = logits.double().softmax(0)
            chance = chances[ids[position]].item()
            assert each.probability == pytest.approx(chance, rel=1e-4)
            assert each.bits == pytest.approx(-math.log2(chance), rel=1e-4, abs=1e-5)
            assert each.rank == 1 + int((chances > chance).sum())
            assert each.likeliest == VOCABULARY.decode([int(chances.argmax())])
            assert each.likeliest_probability == pytest.approx(chances.max().item(), rel=1e-4)
            assert (each.rank == 1) is (each.character == each.likeliest)
            if both is None:
                assert (each.cloze_probability, each.cloze_bits) == (None, None)
                continue
            chance = both.double().softmax(0)[ids[position]].item()
            assert each.cloze_probability == pytest.approx(chance, rel=1e-4)
            assert each.cloze_bits == pytest.approx(-math.log2(chance), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("length", [1, 2, 60, 5_000])
@pytest.mark.parametrize("direction", [*CAUSAL, "leaky"])
def test_the_bits_add_up_to_the_result_of_eval(direction: str, length: int) -> None:
    network, ids = build(direction), draw_ids(length)
    found = scores(network, ids, direction)
    assert len(found) == length
    empty = found.pop(-1 if direction == "backward" else 0)
    shown = VOCABULARY.decode(ids[-1:] if direction == "backward" else ids[:1])
    assert empty == ScoredCharacter(length - 1 if direction == "backward" else 0, shown)
    if length == 1:
        return
    figures = measure_text(network, ids[::-1] if direction == "backward" else ids)
    expected = figures.main.nats / math.log(2)
    assert math.fsum(each.bits or 0.0 for each in found) == pytest.approx(expected, rel=1e-6)
    if figures.cloze is not None:
        expected = figures.cloze.nats / math.log(2)
        assert math.fsum(each.cloze_bits or 0.0 for each in found) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("chunk_chars", [1, 2, 7, 30, N - 2, N - 1, N, 4096])
@pytest.mark.parametrize("direction", CAUSAL)
def test_the_size_of_a_chunk_changes_no_result(direction: str, chunk_chars: int) -> None:
    network, ids = build(direction), draw_ids()
    whole = scores(network, ids, direction, chunk_chars=N + 1)
    chunked = scores(network, ids, direction, chunk_chars=chunk_chars)
    for one, other in zip(whole, chunked, strict=True):
        assert (one.position, one.character, one.rank, one.likeliest) == (
            other.position,
            other.character,
            other.rank,
            other.likeliest,
        )
        for figure in ("probability", "bits", "likeliest_probability", *CLOZE):
            expected = getattr(one, figure)
            assert getattr(other, figure) == (expected and pytest.approx(expected, rel=1e-5))


@pytest.mark.parametrize("direction", CAUSAL)
def test_no_more_than_a_chunk_is_held(direction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, ids = build(direction), draw_ids(1_000)
    decoded: list[int] = []
    half = network.forward_half if isinstance(network, BidirectionalLM) else network
    decode = half.decode

    def spy(hidden: Tensor, **options: Any) -> Tensor:
        decoded.append(len(hidden))
        return decode(hidden, **options)

    monkeypatch.setattr(half, "decode", spy)
    found = score_characters(network, ids, VOCABULARY, direction=direction, chunk_chars=50)
    for _ in range(51):
        next(found)
    # Characters that have not been requested yet are not computed either.
    assert decoded in ([50], [50, 50])
    assert len(list(found)) == 949
    assert sum(decoded) == 999
    assert max(decoded) == 50


@pytest.mark.parametrize("direction", [*CAUSAL, "leaky"])
def test_between_two_characters_a_network_is_in_its_former_mode(direction: str) -> None:
    network, ids = build(direction, num_layers=2, dropout=0.5), draw_ids()
    network.train()
    kept = [parameter.clone() for parameter in network.parameters()]
    first, second = (score_characters(network, ids, VOCABULARY, direction=direction, chunk_chars=8) for _ in "ab")
    pairs: list[ScoredCharacter] = []
    for one, other in zip(first, second, strict=True):
        assert network.training
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
        assert one == other  # no dropout
        pairs.append(one)
    network.eval()
    assert pairs == scores(network, ids, direction, chunk_chars=8)
    assert not network.training
    assert all(torch.equal(*each) for each in zip(kept, network.parameters(), strict=True))


def test_a_certain_character_costs_nothing_and_an_impossible_one_a_finite_number() -> None:
    network = build()
    with torch.no_grad():
        network.decoder.weight.zero_()  # pyright: ignore[reportAttributeAccessIssue]
        network.decoder.bias.copy_(torch.tensor([1e4, *[-1e4] * (V - 1)]))  # pyright: ignore[reportAttributeAccessIssue]
    _, certain, impossible = scores(network, VOCABULARY.encode("a\na"), "forward")
    assert (certain.probability, str(certain.bits), certain.rank) == (1.0, "0.0", 1)
    assert impossible.probability == 0.0
    assert impossible.bits == pytest.approx(20_000 / math.log(2))
    assert impossible.rank == 2  # all the others are as unlikely
    json.dumps(impossible.as_record(), allow_nan=False)


@pytest.mark.parametrize("direction", CAUSAL)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_probability_that_is_not_a_number_is_an_error(direction: str, value: float) -> None:
    network = build(direction)
    with torch.no_grad():
        bias = network.both_bias if isinstance(network, BidirectionalLM) else network.decoder.bias  # pyright: ignore[reportAttributeAccessIssue]
        bias[0] = value
    with pytest.raises(DivergedError, match="its training has diverged"):
        scores(network, draw_ids(), direction)


# Lines.


@pytest.mark.parametrize("text", ["ab\ncd\n\nefg", "ab\ncd\n\nefg\n", "\n", "\n\na", "a", "abc", "a\n"])
@pytest.mark.parametrize("direction", CAUSAL)
def test_lines_in_context_are_the_sums_of_their_characters(direction: str, text: str) -> None:
    found = scores(build(direction), VOCABULARY.encode(text), direction)
    lines = list(join_lines(iter(found)))
    expected = text.removesuffix("\n").split("\n")
    assert [(line.line, line.text) for line in lines] == list(enumerate(expected, 1))
    start = 0
    for line in lines:
        own = found[start : start + len(line.text) + 1]
        predicted = [each for each in own if each.bits is not None]
        assert line.chars == len(predicted)
        assert line.bits == pytest.approx(sum(each.bits or 0.0 for each in predicted))
        assert line.bits_per_char == (pytest.approx(line.bits / len(predicted)) if predicted else None)
        if direction == "bidirectional" and predicted:
            assert line.cloze_bits == pytest.approx(sum(each.cloze_bits or 0.0 for each in predicted))
        else:
            assert line.cloze_bits is None
        start += len(own)
    assert start == len(text)
    assert sum(line.chars for line in lines) == len(text) - 1


@pytest.mark.parametrize("chunk_chars", [1, 5, 16, 2048])
@pytest.mark.parametrize("direction", CAUSAL)
def test_a_line_alone_is_a_text_between_two_newlines(direction: str, chunk_chars: int) -> None:
    network, texts = build(direction), ["abc", "", "j", "cab", "abcdefghij" * 4, "", "bca", "jj", "hhh"]
    lines = lines_alone(network, "\n".join(texts) + "\n", direction, chunk_chars=chunk_chars)
    assert [(line.line, line.text, line.chars) for line in lines] == [
        (number, text, len(text) + 1) for number, text in enumerate(texts, 1)
    ]
    for line, text in zip(lines, texts, strict=True):
        own = scores(network, VOCABULARY.encode(f"\n{text}\n"), direction)
        assert line.bits == pytest.approx(sum(each.bits or 0.0 for each in own), rel=1e-5)
        if direction == "bidirectional":
            assert line.cloze_bits == pytest.approx(sum(each.cloze_bits or 0.0 for each in own), rel=1e-5)
        else:
            assert line.cloze_bits is None


@pytest.mark.parametrize("direction", [*CAUSAL, "leaky"])
@settings(max_examples=25)
@given(
    lines=st.lists(st.text("abcdefghij", max_size=12), min_size=1, max_size=12),
    seed=st.integers(0, 99),
    ends_in_newline=st.booleans(),
)
def test_alone_neither_the_order_nor_the_other_lines_nor_a_last_newline_matter(
    direction: str, lines: list[str], seed: int, *, ends_in_newline: bool
) -> None:
    network = build(direction)
    shuffled = Random(seed).sample(lines, len(lines))
    # Where the text ends without a newline, an empty last line is none.
    shuffled += [] if ends_in_newline or shuffled[-1] else ["a"]
    found = lines_alone(network, "\n".join(shuffled) + "\n" * ends_in_newline, direction)
    assert [line.text for line in found] == shuffled
    for line in found:
        (by_itself,) = lines_alone(network, line.text + "\n", direction)
        assert (line.bits, line.chars) == (pytest.approx(by_itself.bits, rel=1e-5), by_itself.chars)


@pytest.mark.parametrize("direction", CAUSAL)
def test_lines_scored_alone_run_in_parallel_but_no_more_than_a_chunk(
    direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, shapes = build(direction), []
    half = network.forward_half if isinstance(network, BidirectionalLM) else network
    decode = half.decode

    def spy(hidden: Tensor, **options: Any) -> Tensor:
        shapes.append(hidden.shape[:2])
        return decode(hidden, **options)

    monkeypatch.setattr(half, "decode", spy)
    lines_alone(network, "ab\ncd\nef\n" * 30 + "abcdefghij" * 20, direction, chunk_chars=40)
    # Ten lines of two characters fill a chunk; the long one takes six.
    assert shapes == [(3, 10)] * 9 + [(40, 1)] * 5 + [(1, 1)]


def test_lines_judged_alone_are_reported() -> None:
    calls: list[tuple[int, int]] = []
    lines_alone(build(), "ab\ncd\n\nefg\n", chunk_chars=8, report=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (3, 4), (4, 4)]


def test_the_most_surprising_come_first_and_the_earlier_of_equals_before_the_later() -> None:
    lines = [
        ScoredLine(1, "", 0, 0.0),
        ScoredLine(2, "long", 10, 30.0),
        ScoredLine(3, "short", 1, 3.0),
        ScoredLine(4, "odd", 2, 7.0),
        ScoredLine(5, "usual", 10, 5.0),
    ]
    for count, expected in ((1, [4]), (3, [4, 2, 3]), (9, [4, 2, 3, 5, 1])):
        assert [line.line for line in most_surprising(iter(lines[::-1]), count)] == expected


@pytest.mark.parametrize("place", [0, 1, 17, 29, 30])
@pytest.mark.parametrize("direction", CAUSAL)
def test_the_odd_line_out_is_found_wherever_it_is(
    models: dict[str, Model], corpus_text: str, direction: str, place: int
) -> None:
    lines = corpus_text.splitlines()[:30]
    lines.insert(place, "tth gg nnuu mm.d rsrs hi.")
    found = list(charlm.score_lines(models[direction], "\n".join(lines), odd=3))
    assert len(found) == 3
    assert found[0].line == place + 1
    rates = [line.bits_per_char or 0.0 for line in found]
    assert rates == sorted(rates, reverse=True)
    again = next(charlm.score_lines(models[direction], "\n".join(sorted(lines)), odd=1))
    assert (again.text, again.bits) == (lines[place], pytest.approx(found[0].bits, rel=1e-5))


@pytest.mark.parametrize("direction", CAUSAL)
def test_odd_lines_are_scored_alone_and_others_in_context_by_default(
    models: dict[str, Model], corpus_text: str, direction: str
) -> None:
    model, text = models[direction], corpus_text[:300]
    in_context = list(charlm.score_lines(model, text, alone=False))
    alone = list(charlm.score_lines(model, text, alone=True))
    assert in_context == list(charlm.score_lines(model, text)) == list(join_lines(charlm.score(model, text)))
    assert [line.text for line in in_context] == [line.text for line in alone]
    assert in_context[1].bits != pytest.approx(alone[1].bits, rel=1e-4)
    assert list(charlm.score_lines(model, text, odd=99)) == most_surprising(alone, 99)
    assert list(charlm.score_lines(model, text, odd=99, alone=False)) == most_surprising(in_context, 99)
    assert list(charlm.score_lines(model, text, odd=2, alone=True)) == most_surprising(alone, 2)


# Texts.


@pytest.mark.parametrize("direction", [*CAUSAL, "leaky"])
def test_a_file_and_its_text_have_the_results_of_evaluate(
    models: dict[str, Model], tmp_path: Path, corpus_text: str, direction: str
) -> None:
    model, text = models[direction], corpus_text[100:600]
    end = text.index("\n", 90)
    # The first file's last line has no end of its own, and gets one.
    (tmp_path / "a.txt").write_text(text[:end], encoding="utf-8-sig")
    (tmp_path / "b.txt").write_text(text[end + 1 :], encoding="utf-8")
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    found = list(charlm.score(model, text))
    assert found == list(charlm.score(model, files=files))
    figures = charlm.evaluate(model, files=files)
    assert sum(each.bits or 0.0 for each in found) / math.log2(math.e) == pytest.approx(figures.main.nats, rel=1e-6)
    if figures.cloze:
        nats = sum(each.cloze_bits or 0.0 for each in found) / math.log2(math.e)
        assert nats == pytest.approx(figures.cloze.nats, rel=1e-6)
    assert sum(line.bits for line in charlm.score_lines(model, text)) == pytest.approx(
        figures.main.nats / math.log(2), rel=1e-6
    )


def test_a_run_is_opened(trained: Run) -> None:
    assert list(charlm.score(trained, "the cat")) == list(charlm.score(charlm.open_run(trained), "the cat"))
    assert len(list(charlm.score_lines(trained, "the\ncat"))) == 2


@pytest.mark.parametrize("call", [charlm.score, charlm.score_lines])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ConfigError, "give either a text or files"),
        ({"text": "a", "files": ["a.txt"]}, ConfigError, "give either a text or files"),
        ({"files": []}, ConfigError, "give either a text or files"),
        ({"text": ""}, TextError, "the text is empty"),
        (
            {"text": "a€a"},
            TextError,
            r"the text has 1 character this model has never seen: '€' \(U\+20AC\) at position 1",
        ),
        ({"text": "a\0"}, TextError, r"never seen: 'a control character' \(U\+0000\)"),
        ({"text": "\udcff"}, TextError, "never seen"),
        ({"files": ["absent.txt"]}, TextError, "there is no corpus file"),
    ],
)
def test_what_cannot_be_scored_is_an_error_before_anything_is(
    trained: Run, call: Callable[..., object], arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    # Not even the first character is asked for here.
    with pytest.raises(error, match=message):
        call(trained, **arguments)


def test_unknown_characters_are_skipped_or_replaced_where_the_run_says_so(
    tmp_path: Path, tiny_settings: Callable[..., Settings], corpus_text: str
) -> None:
    skipping = charlm.train(tiny_settings("corpus.unknown=skip", "train.max_steps=2"), name="skip", runs_dir=tmp_path)
    with pytest.warns(CharlmWarning, match="2 characters the model does not know were skipped: '€'"):
        found = list(charlm.score(skipping, "the €c漢at"))
    known = [replace(each, position=0) for each in found if each.unknown is None]
    assert known == [replace(each, position=0) for each in charlm.score(skipping, "the cat")]
    assert [each.position for each in found] == list(range(9))
    # A skipped character stays in its place, without scores.
    assert [found[4], found[6]] == [
        ScoredCharacter(4, "€", unknown="skipped"),
        ScoredCharacter(6, "漢", unknown="skipped"),
    ]
    with pytest.raises(TextError, match="the text has no character that the model knows"):
        charlm.score(skipping, "€漢")
    (tmp_path / "corpus.txt").write_text(corpus_text + "Q\n", encoding="utf-8")
    options = ("corpus.unknown=replace", "vocabulary.min_count=2", f"corpus.path='{tmp_path / 'corpus.txt'}'")
    replacing = charlm.train(tiny_settings(*options, "train.max_steps=2"), name="replace", runs_dir=tmp_path)
    with pytest.warns(CharlmWarning, match="1 character the model does not know was read as its unknown symbol"):
        found = list(charlm.score(replacing, "the €at"))
    assert found[4].unknown == "replaced"
    assert "".join(each.character for each in found) == "the €at"
    assert all(each.bits is not None for each in found[1:])
    with pytest.warns(CharlmWarning, match="'Q'"):
        others = list(charlm.score(replacing, "the Qat"))
    assert [replace(each, character="") for each in others] == [replace(each, character="") for each in found]


@pytest.mark.parametrize(
    ("clean", "text", "cleaned"),
    [
        ("{newline: lf}", "the cat\r\nsat\ron\n", "the cat\nsat\non\n"),
        ("{lowercase: true}", "The CAT", "the cat"),
        ("letters", "  The cat,\n  sat -- on  \n", "the catsat on"),
        ("none", "the cat\nsat\n", "the cat\nsat\n"),
    ],
)
def test_a_text_is_cleaned_as_a_file_is(
    tmp_path: Path, tiny_settings: Callable[..., Settings], clean: str, text: str, cleaned: str
) -> None:
    settings = tiny_settings(f"corpus.clean={clean}", "train.max_steps=2")
    model = charlm.open_run(charlm.train(settings, name="run", runs_dir=tmp_path))
    (tmp_path / "text.txt").write_text(text, encoding="utf-8", newline="")
    found = list(charlm.score(model, text))
    assert "".join(each.character for each in found) == cleaned
    assert found == list(charlm.score(model, files=[tmp_path / "text.txt"]))
    if clean == "letters":
        with pytest.raises(ConfigError, match="the model of run run knows no newline, so it cannot tell lines apart"):
            charlm.score_lines(model, text)
    else:
        assert [line.text for line in charlm.score_lines(model, text)] == cleaned.removesuffix("\n").split("\n")


def test_a_strange_text_comes_back_character_for_character(strange: Model) -> None:
    text = STRANGE * 2
    assert "".join(each.character for each in charlm.score(strange, text)) == text
    lines = list(charlm.score_lines(strange, text, alone=True))
    assert [line.text for line in lines] == [STRANGE[:-1]] * 2  # the CR stays: lines end at LF alone
    assert lines[0].bits == pytest.approx(lines[1].bits, rel=1e-6)


# The command line.


def refuse_constant(name: str) -> None:
    raise ValueError(name)


def strict_lines(output: str) -> list[dict[str, Any]]:
    """Parse JSON lines as strictly as anybody could."""
    assert output.endswith("\n")
    return [json.loads(line, parse_constant=refuse_constant) for line in output[:-1].split("\n")]


@pytest.mark.parametrize("direction", [*CAUSAL, "leaky"])
def test_json_lines_are_what_the_library_says(models: dict[str, Model], charlm_command: Charlm, direction: str) -> None:
    model, text = models[direction], "the cat\nsat on a mat.\n"
    command = ("score", text, f"--run={model.run.path}", "--json")
    result = charlm_command(*command)
    assert (result.exit_code, result.stderr) == (0, "")
    found = strict_lines(result.stdout)
    cloze = CLOZE if direction == "bidirectional" else []
    warning = {"warning": LEAKY_WARNING} if direction == "leaky" else {}
    assert [list(record) for record in found] == [[*FIELDS, *cloze, *warning]] * len(text)
    for record, each in zip(found, charlm.score(model, text), strict=True):
        assert record == {key: getattr(each, key) for key in (*FIELDS, *cloze)} | warning
    empty = found[-1 if direction == "backward" else 0]
    assert all(empty[key] is None for key in (*FIELDS[2:], *cloze))

    lines = strict_lines(charlm_command(*command, "--per-line").stdout)
    figures = ["line", "bits_per_char", "bits", "chars", *cloze[1:], "text"]
    assert [list(record) for record in lines] == [[*figures, *warning]] * 2
    for record, line in zip(lines, charlm.score_lines(model, text), strict=True):
        assert record == {key: getattr(line, key) for key in figures} | warning
    (oddest,) = strict_lines(charlm_command(*command, "--odd=1").stdout)
    assert oddest == max(strict_lines(charlm_command(*command, "--per-line", "--alone").stdout), key=by_rate)
    (oddest,) = strict_lines(charlm_command(*command, "--odd=1", "--in-context").stdout)
    assert oddest == max(lines, key=by_rate)


def by_rate(record: dict[str, Any]) -> float:
    return record["bits_per_char"]


def test_json_of_a_strange_text_is_strict_and_whole(strange: Model, charlm_command: Charlm, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(STRANGE, encoding="utf-8", newline="")
    result = charlm_command("score", f"--file={tmp_path / 'text.txt'}", f"--run={strange.run.path}", "--json")
    # A line separator inside a string is no line's end, which str.splitlines would take it for.
    assert "".join(record["character"] for record in strict_lines(result.stdout)) == STRANGE


def test_one_character_has_nothing_before_it(trained: Run, charlm_command: Charlm) -> None:
    (record,) = strict_lines(charlm_command("score", "a", f"--run={trained.path}", "--json").stdout)
    assert record == {"position": 0, "character": "a"} | dict.fromkeys(FIELDS[2:])
    (line,) = strict_lines(charlm_command("score", "a", f"--run={trained.path}", "--json", "--per-line").stdout)
    assert line == {"line": 1, "bits_per_char": None, "bits": 0.0, "chars": 0, "text": "a"}
    plain = charlm_command("score", "a", f"--run={trained.path}", "--per-line").stdout
    assert plain == "line\tbits_per_char\tbits\tchars\ttext\n1\t-\t0.000\t0\ta\n"


def test_a_text_comes_as_an_argument_from_files_or_from_standard_input(
    trained: Run, charlm_command: Charlm, tmp_path: Path
) -> None:
    text, run = "the cat\nsat.\n", f"--run={trained.path}"
    (tmp_path / "a.txt").write_text(text[:7], encoding="utf-8")
    (tmp_path / "b.txt").write_text(text[8:], encoding="utf-8")
    expected = charlm_command("score", text, run, "--json").stdout
    assert expected.count("\n") == len(text)
    for arguments in (["-"], ["--file=-"]):
        assert charlm_command("score", *arguments, run, "--json", text=text).stdout == expected
    files = [f"--file={tmp_path / 'a.txt'}", f"--file={tmp_path / 'b.txt'}"]
    assert charlm_command("score", *files, run, "--json").stdout == expected
    folder = charlm_command("score", f"--file={tmp_path}", run, f"--runs-dir={tmp_path}", "--json", "--checkpoint=60")
    assert folder.stdout == expected
    assert charlm_command("score", "the", f"--runs-dir={trained.path.parent}", "--json").stdout.count("\n") == 3


def test_a_pipe_has_rows_with_tabs_between_the_columns(strange: Model, charlm_command: Charlm) -> None:
    result = charlm_command("score", STRANGE, f"--run={strange.run.path}")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.replace("\n", "").replace("\t", "").isprintable()
    header, first, *rows = [line.split("\t") for line in result.stdout[:-1].split("\n")]
    assert header == FIELDS
    assert first == ["0", "'e'", "-", "-", "-", "-", "-"]
    for row, each in zip(rows, list(charlm.score(strange, STRANGE))[1:], strict=True):
        assert row == [
            str(each.position),
            repr(each.character),
            f"{each.probability:.4g}",
            f"{each.bits:.3f}",
            str(each.rank),
            repr(each.likeliest),
            f"{each.likeliest_probability:.4g}",
        ]
    result = charlm_command("score", STRANGE, f"--run={strange.run.path}", "--per-line")
    header, row = [line.split("\t") for line in result.stdout[:-1].split("\n")]
    assert header == ["line", "bits_per_char", "bits", "chars", "text"]
    assert r"\u202eevil\u202c" in row[-1]
    assert r"\x1b[2J\x07\x9b\t" in row[-1]


def test_each_result_of_a_leaky_model_comes_with_its_warning(models: dict[str, Model], charlm_command: Charlm) -> None:
    for options in ([], ["--per-line"], ["--odd=2"]):
        result = charlm_command("score", "the cat\nsat.", f"--run={models['leaky'].run.path}", *options)
        header, *rows = result.stdout.splitlines()
        assert header.endswith("\twarning")
        assert all(row.endswith(f"\t{LEAKY_WARNING}") for row in rows)


def test_a_diverged_model_is_5(trained: Run, charlm_command: Charlm, monkeypatch: pytest.MonkeyPatch) -> None:
    model = charlm.open_run(trained)
    model.checkpoint.model["decoder.bias"][0] = math.nan
    monkeypatch.setattr("charlm.library.models.open_run", lambda *_, **__: model)
    result = charlm_command("score", "the cat", "--odd=1", "--json")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (5, "", 1)
    assert "its training has diverged" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ([], 2, "give either a text or --file FILE; - is standard input"),
        (["the", "--file=a.txt"], 2, "give either a text or --file FILE"),
        (["-", "--file=-"], 2, "give either a text or --file FILE"),
        (["the", "--per-line", "--odd=2"], 2, "give either --per-line or --odd"),
        (["the", "--alone"], 2, "--alone and --in-context apply to lines: they need --per-line or --odd N"),
        (["the", "--in-context"], 2, "--alone and --in-context apply to lines"),
        (["the", "--checkpoint=newest"], 2, "--checkpoint must be best, last or a step's number, got 'newest'"),
        (["the", "--device=tpu"], 2, "device"),
        ([""], 2, "TEXT is empty"),
        (["-"], 3, "the text is empty: there is nothing to score"),
        (["th\x1be €"], 3, "has 2 characters this model has never seen: 'a control character' (U+001B) at position 2"),
        (["--file=absent.txt"], 3, "there is no corpus file absent.txt"),
        (["--file=/dev/null"], 3, "is a pipe or a device"),
        (["the", "--checkpoint=61"], 4, "61"),
        (["the", "--run=absent"], 4, "absent"),
    ],
)
def test_a_wrong_invocation_gives_one_sentence_and_its_exit_code(
    trained: Run, charlm_command: Charlm, arguments: list[str], code: int, sentence: str
) -> None:
    result = charlm_command("score", *arguments, f"--runs-dir={trained.path.parent}", text="")
    assert (result.exit_code, result.stdout) == (code, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("charlm: ")
    assert line.isprintable()
    assert sentence in line


@pytest.mark.parametrize("option", ["--odd=0", "--odd=-1", "--odd=many", "--odd", "--surprise", "--odd=99999999"])
def test_a_meaningless_option_is_2(trained: Run, charlm_command: Charlm, option: str) -> None:
    result = charlm_command("score", "the", option, f"--runs-dir={trained.path.parent}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr


def test_help_and_wrong_options_need_no_torch() -> None:
    script = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from charlm.cli.main import app\n"
        "codes = [CliRunner().invoke(app, ['score', *more]).exit_code for more in (['--help'], [], ['a', '--alone'])]\n"
        "print(codes, 'torch' in sys.modules)\n"
    )
    assert run_code(script, is_cold=True) == (0, "[0, 2, 2] False\n", "")


# Processes.


def test_a_closed_pipe_ends_silently_with_141(
    trained: Run, charlm_process: Process, tmp_path: Path, corpus_text: str
) -> None:
    (tmp_path / "long.txt").write_text(corpus_text * 20, encoding="utf-8")
    process = charlm_process("score", f"--file={tmp_path / 'long.txt'}", f"--run={trained.path}", "--json")
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b'{"position": 0, ')
    process.stdout.close()
    process.stdout = None
    returncode, _, stderr = finish(process)
    assert (returncode, stderr) == (141, "")


def test_a_full_disk_behind_the_output_is_6(trained: Run, charlm_process: Process) -> None:
    with Path("/dev/full").open("wb") as full:
        returncode, _, stderr = finish(charlm_process("score", "the", f"--run={trained.path}", stdout=full.fileno()))
    assert (returncode, stderr) == (6, "charlm: cannot write the output: no space left on device\n")


def on_terminal(start: Process, *arguments: str | Path, columns: int = 40) -> tuple[int, str]:
    """Run a command with a terminal for both outputs; return its exit code and what was shown."""
    # Readline, which pytest loads, puts a width there that os.environ knows nothing of.
    os.unsetenv("COLUMNS")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = start(*arguments, stdout=slave, stderr=slave)
    os.close(slave)
    shown = b"".join(read_until_hung_up(master))
    os.close(master)
    return process.wait(timeout=120), shown.decode().replace("\r\n", "\n")


def read_until_hung_up(master: int) -> Iterator[bytes]:
    with suppress(OSError):
        while block := os.read(master, 65536):
            yield block


def test_a_terminal_shows_the_text_in_colours(
    trained: Run, charlm_process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    text = "the cat sat on the hill.\nunder a moon " + "mdmd" * 12
    code, shown = on_terminal(charlm_process, "score", text, f"--run={trained.path}")
    assert code == 0
    plain = ESCAPES.sub("", shown)
    assert "\x1b" not in plain
    heading, *rest = plain.splitlines()
    assert heading == "run trained, step 60"
    start = next(number for number, line in enumerate(rest) if line.startswith("the cat"))
    assert " ".join(rest[:start]).startswith("bits:  0 to 1  1 to 2  2 to 4 ")
    assert rest[start:] == ["the cat sat on the hill.↵", text[25:65], text[65:]]
    assert len(set(ESCAPES.findall("".join(shown.splitlines()[start + 1 :])))) > 3


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("CI", "1")])
def test_a_terminal_without_colours_shows_the_rows_of_a_pipe(
    trained: Run,
    charlm_process: Process,
    charlm_command: Charlm,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv(variable, value)
    code, shown = on_terminal(charlm_process, "score", "the cat\n", f"--run={trained.path}")
    assert (code, shown) == (0, charlm_command("score", "the cat\n", f"--run={trained.path}").stdout)


# What a terminal is shown.


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def as_scored(text: str, bits: float | None = 0.5) -> list[ScoredCharacter]:
    return [ScoredCharacter(place, character, bits=bits) for place, character in enumerate(text)]


def draw(show: Callable[..., None], scored: list[Any], columns: int = 20, warning: str | None = None) -> str:
    """Return what is sent to a terminal of this width with 256 colours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", Terminal())
        patch.setenv("TERM", "xterm-256color")
        patch.setenv("COLUMNS", str(columns))
        show(Subject("run", 1_234, warning), scored)
        return sys.stdout.getvalue()


def text_rows(scored: list[ScoredCharacter]) -> list[str]:
    """Return the rows of the text, without colours and without the lines above it."""
    above = draw(show_characters, [])
    return ESCAPES.sub("", draw(show_characters, scored).removeprefix(above)).split("\n")[:-1]


def test_rows_fill_the_width_and_cut_no_character() -> None:
    text = "a" * 19 + "漢字" * 12 + "\x1b" * 8 + "b" * 60 + "\n\n" + "👩" * 11 + " " * 25 + "c"
    rows = text_rows(as_scored(text))
    assert "".join(rows) == "".join(visible(character) for character in text)
    assert all(0 < cell_len(row) <= 20 for row in rows)
    assert rows[:5] == ["a" * 19, "漢字" * 5, "漢字" * 5, "漢字" * 2 + r"\x1b" * 3, r"\x1b" * 5]
    assert rows[5:] == ["b" * 20] * 3 + ["↵", "↵", "👩" * 10, "👩" + " " * 18, " " * 7 + "c"]


@settings(max_examples=40)
@example("\N{EMOJI MODIFIER FITZPATRICK TYPE-1-2}")
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=200))
def test_no_text_sends_control_codes_to_a_terminal(text: str) -> None:
    rows = text_rows(as_scored(text))
    assert all(row.isprintable() for row in rows)
    assert all(cell_len(row) <= 20 for row in rows)
    assert "".join(rows) == "".join(visible(character) for character in text)
    assert len(rows) >= max(1, text.count("\n"))


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("a", "a"),
        (" ", " "),
        ("\n", "↵"),
        ("\r", r"\r"),
        ("\t", r"\t"),
        ("\x1b", r"\x1b"),
        ("\x9b", r"\x9b"),
        ("\x7f", r"\x7f"),
        ("\xa0", r"\xa0"),
        ("\u202e", r"\u202e"),
        ("\u2066", r"\u2066"),
        ("\u200d", r"\u200d"),
        ("\u2028", r"\u2028"),
        ("\ud800", r"\ud800"),
        ("\u0301", "◌\u0301"),
        ("\u093f", "◌\u093f"),
        ("\ufe0f", "◌\ufe0f"),
        ("漢", "漢"),
        ("[", "["),
        ("\\", "\\"),
    ],
)
def test_each_character_is_seen(character: str, shown: str) -> None:
    assert visible(character) == shown


def test_neither_markup_nor_emoji_names_are_taken_for_more_than_text() -> None:
    text = "[bold]:cat:[/] https"
    assert text_rows(as_scored(text)) == [text]


@pytest.mark.parametrize(
    ("bits", "band"),
    [(0.0, 0), (0.99, 0), (1.0, 1), (1.9, 1), (2.0, 2), (3.9, 2), (4.0, 3), (6.0, 4), (7.9, 4), (8.0, 5), (900.0, 5)],
)
def test_more_bits_are_another_colour(bits: float, band: int) -> None:
    *above, row = draw(show_characters, as_scored("x", bits)).removesuffix("\n").split("\n")
    codes = ["", "30;48;5;230", "30;48;5;222", "30;48;5;215", "30;48;5;209", "38;5;231;48;5;124"]
    assert len(codes) == len(BANDS)
    assert row == (f"\x1b[{codes[band]}mx\x1b[0m" if band else "x")
    # The legend has the colours that the text has.
    assert all(code in "".join(above) for code in codes)


def test_a_character_with_nothing_before_it_is_shown_without_a_score() -> None:
    *above, row = draw(show_characters, as_scored("x", None)).removesuffix("\n").split("\n")
    assert row == "\x1b[2;3mx\x1b[0m"
    assert "not predicted" in ESCAPES.sub("", "".join(above))


@pytest.mark.parametrize("show", [show_characters, show_lines])
def test_a_leaky_models_view_says_so(show: Callable[..., None]) -> None:
    assert f"warning: {LEAKY_WARNING}" in ESCAPES.sub("", draw(show, [], warning=LEAKY_WARNING))


def test_lines_are_a_table_that_fits() -> None:
    lines = [
        ScoredLine(7, "a\x1b[2Jb\u202e:cat:[bold]", 4, 34.0),
        ScoredLine(1_234, "", 0, 0.0),
        ScoredLine(8, "漢" * 400, 4, 1.0),
    ]
    shown = draw(show_lines, lines, columns=60)
    heading, titles, *rows = ESCAPES.sub("", shown).removesuffix("\n").split("\n")
    assert heading == "run run, step 1,234"
    assert titles.split() == ["line", "bits", "per", "char", "bits", "chars"]
    assert rows[0].split() == ["7", "8.500", "34.000", "4", "a\\x1b[2Jb\\u202e:ca…"]
    assert rows[1].split() == ["1234", "-", "0.000", "0"]
    assert rows[2].split() == ["8", "0.250", "1.000", "4", "漢" * 9 + "…"]
    assert all(cell_len(row) <= 60 for row in rows)
    assert "\x1b[38;5;231;48;5;124m8.500\x1b[0m" in shown
