"""What a model codes, the same model decodes; a code has the bits that the model needs."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from coded import ENGLISH, fresh_model, round_trip
from hypothesis import strategies
from pairs import one_in

from charlm.coding import coder
from charlm.coding.coded_file import Coded
from charlm.coding.coder import decode_ids, encode_ids, probe
from charlm.coding.packing import DamagedError
from charlm.errors import ConfigError, DivergedError
from charlm.library.file_coder import FileCoder
from charlm.networks.costs import target_costs
from charlm.networks.native_predictor import NativePredictor

DRAW = random.Random(0)
LATIN = "".join(DRAW.choices(ENGLISH, k=700))
CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "one byte": b"a",
    "one unknown byte": b"\xff",
    "English": LATIN.encode(),
    "code": b"def f(x):\n\treturn {x: [1, 2]}\n" * 12,
    "line ends": b"one\r\ntwo\nthree\rfour\r\n\r\n" * 9,
    "byte order mark": b"\xef\xbb\xbfWe see. " * 20,
    "scripts": "Привет, мир! 你好，世界。 שלום مرحبا 😀 e\u0301 é\n".encode() * 8,
    "invalid UTF-8": b"The cat \xc3\x28 \xf0\x9f\x98 sat\xed\xa0\x80. " * 12,
    "random bytes": DRAW.randbytes(600),
    "zeros": bytes(500),
}
MODELS: dict[str, tuple[str, ...]] = {
    "rnn tanh": ("model.cell=rnn",),
    "rnn relu": ("model.cell=rnn", "model.activation=relu"),
    "gru": ("model.cell=gru", "model.num_layers=2"),
    "gru before": ("model.cell=gru", "model.reset_after=false"),
    "lstm": ("model.cell=lstm", "model.learned_state=true"),
    "embedding": ("model.cell=lstm", "model.embedding_size=9", "model.num_layers=3", "model.residual=true"),
    "backward": ("model.direction=backward",),
    "bidirectional": ("model.direction=bidirectional",),
    "layer norm": ("model.cell=lstm", "model.layer_norm=true"),
    "zoneout": ("model.cell=gru", "model.zoneout=0.1"),
    "sigmoid": ("model.cell=rnn", "model.activation=sigmoid"),
    "torch": ("model.cell=lstm", "model.implementation=torch"),
    "lines": ("corpus.items=lines",),
    "lines backward": ("corpus.items=lines", "model.direction=backward"),
    "letters": ("corpus.clean=letters",),
}


@cache
def fresh_coder() -> FileCoder:
    """Return a coder whose text is cleaned, so that edits of every kind occur."""
    return FileCoder(fresh_model("corpus.clean.unicode=nfc", "corpus.clean.lowercase=true", characters=ENGLISH + "éß"))


@pytest.mark.parametrize("case", one_in(8, product(MODELS, CONTENTS)), ids=", of ".join)
def test_every_kind_of_content_comes_back_from_every_kind_of_model(case: tuple[str, str]) -> None:
    model, content = case
    for has_unknown in (False, True):
        round_trip(fresh_model(*MODELS[model], has_unknown=has_unknown), CONTENTS[content])


CONTENT = strategies.one_of(strategies.binary(max_size=300), strategies.text(max_size=200).map(str.encode))


@hypothesis.given(content=CONTENT)
@hypothesis.settings(max_examples=40)
def test_whatever_a_file_holds_comes_back(content: bytes) -> None:
    coding = fresh_coder()
    assert coding.decode(coding.encode(content, None), Path("coded.cz"), None) == content


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_megabyte_comes_back(seed: int) -> None:
    draw = random.Random(seed)
    text = "".join(draw.choices(ENGLISH, k=700_000)).encode() + draw.randbytes(300_000)
    assert isinstance(round_trip(fresh_model(), text).body, Coded)


def costs(model: Any, ids: np.ndarray) -> float:
    """Return the bits that a model needs for a text after its first character."""
    predictor = FileCoder(model).predictor
    logits, _ = predictor.predict(ids[:-1, None], predictor.initial_state(1))
    return float(target_costs(logits[:, 0], ids[1:])[0].sum() / np.log(2))


@pytest.mark.parametrize("model", ["gru", "lstm", "embedding", "torch"])
def test_a_code_has_the_bits_that_the_model_needs(model: str) -> None:
    opened = fresh_model(*MODELS[model])
    ids = opened.checkpoint.vocabulary.encode(LATIN * 4).astype(np.int64)
    first = np.log2(len(opened.checkpoint.vocabulary))
    code = encode_ids(FileCoder(opened).predictor, ids, len(opened.checkpoint.vocabulary))
    # At most two words of 32 bits end it, and each character costs less than a thousandth more.
    assert 0 <= 8 * len(code) + 32 - costs(opened, ids) - first < 96 + 0.0005 * costs(opened, ids)


@pytest.mark.kernels
@pytest.mark.parametrize("model", ["rnn tanh", "rnn relu", "gru", "gru before", "lstm", "embedding"])
def test_pieces_and_single_steps_have_one_code(
    model: str, instruction_set: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = fresh_model(*MODELS[model])
    ids = opened.checkpoint.vocabulary.encode(LATIN).astype(np.int64)
    coding = FileCoder(opened)
    assert isinstance(coding.predictor, NativePredictor)
    assert coding.predictor.kernels.instruction_set == instruction_set
    codes: set[bytes] = set()
    for size in (1, 3, 64, 2048):
        monkeypatch.setattr(coder, "CHARS_AT_ONCE", size)
        codes.add(encode_ids(coding.predictor, ids, coding.vocab_size))
    assert len(codes) == 1
    assert np.array_equal(decode_ids(coding.predictor, codes.pop(), len(ids), coding.vocab_size), ids)


def test_an_item_is_coded_as_though_it_were_the_first() -> None:
    opened = fresh_model("corpus.items=lines")
    coding, vocabulary = FileCoder(opened), opened.checkpoint.vocabulary
    lines = ["cat\n", "dog is here\n", "cat\n"]
    alone = [costs(opened, vocabulary.encode("\n" + line).astype(np.int64)) for line in lines]
    together = vocabulary.encode("\n" + "".join(lines) * 20).astype(np.int64)
    code = encode_ids(coding.predictor, together, coding.vocab_size, boundary=opened.boundary)
    assert abs(8 * len(code) - 20 * sum(alone)) < 64


def test_a_torch_network_is_read_on_one_thread_which_is_given_back(set_threads: Callable[[int], None]) -> None:
    set_threads(2)
    opened = fresh_model("model.implementation=torch")
    seen: list[int] = []
    predictor: Any = FileCoder(opened).predictor
    predict = predictor.predict
    predictor.predict = lambda ids, state: (seen.append(torch.get_num_threads()), predict(ids, state))[1]
    code = encode_ids(predictor, np.arange(9), len(opened.checkpoint.vocabulary))
    decode_ids(predictor, code, 9, len(opened.checkpoint.vocabulary))
    assert (set(seen), torch.get_num_threads()) == ({1}, 2)


def test_the_probe_differs_where_the_last_bits_do(monkeypatch: pytest.MonkeyPatch) -> None:
    coding = FileCoder(fresh_model())
    before = probe(coding.predictor, coding.vocab_size)
    assert probe(coding.predictor, coding.vocab_size) == before
    exact = coder._weights
    monkeypatch.setattr(coder, "_weights", lambda logits: np.nextafter(exact(logits), 2))
    assert probe(coding.predictor, coding.vocab_size) != before


def test_a_code_of_no_text_is_refused() -> None:
    coding = FileCoder(fresh_model())
    with pytest.raises(DamagedError):
        decode_ids(coding.predictor, b"\xff" * 40, 200, coding.vocab_size)


def test_a_diverged_model_is_refused() -> None:
    opened = fresh_model()
    opened.checkpoint.model["decoder.bias"][:] = np.nan
    with pytest.raises(DivergedError):
        FileCoder(opened).encode(b"one two", None)


def test_without_constriction_the_install_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coder, "find_spec", lambda _: None)
    assert importlib.util.find_spec("constriction") is not None
    with pytest.raises(ConfigError, match=r"pip install 'charlm\[coder\]'"):
        FileCoder(fresh_model()).encode(b"one", None)


@pytest.mark.usefixtures("without_kernels")
def test_without_kernels_torch_codes_and_says_so() -> None:
    assert round_trip(fresh_model(), CONTENTS["scripts"] + CONTENTS["English"]).place == "torch"


def test_a_leaky_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="leaky"):
        FileCoder(fresh_model("model.direction=leaky"))
