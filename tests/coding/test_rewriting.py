"""Any bytes become a text that a model reads, and edits turn it back into exactly these bytes."""

from __future__ import annotations

from functools import cache

import hypothesis
import pytest
from hypothesis import strategies

from charlm.coding.edits import Edit, apply_edits, pack_edits, unpack_edits
from charlm.coding.packing import DamagedError, Reader, packed_bytes, packed_number, unpacked_bytes
from charlm.coding.rewriting import Rewritten, restore, rewrite
from charlm.errors import ConfigError
from charlm.settings.corpus import CorpusSettings
from charlm.settings.loading import load_settings
from charlm.text.vocabulary import Vocabulary

READINGS = (
    "corpus.clean.newline=lf",
    "corpus.clean.newline=keep",
    "corpus.clean.unicode=nfc",
    "corpus.clean.lowercase=true",
    "corpus.clean=letters",
    "corpus.items=lines",
    "corpus.items=files",
    "corpus.encoding=latin-1",
    "corpus.encoding=utf-16",
    "corpus.encoding=cp1252",
)
KNOWN = "\n abcdefghijklmnopqrstuvwxyzAB.,é\uffff"
TEXTS = strategies.text("\n\r aAbBz.,éİΣ\u0301\ufeff\ufffd\uffff世😀")
# Each has a large table, which is made once.
VOCABULARIES = {has_unknown: Vocabulary("".join(sorted(KNOWN)), has_unknown) for has_unknown in (False, True)}
CONTENTS = strategies.one_of(
    strategies.binary(max_size=60),
    TEXTS.map(lambda text: text.encode("utf-8")),
    TEXTS.map(lambda text: text.encode("utf-16")),
    strategies.lists(strategies.sampled_from([b"ab\r\n", b"Cd\n", b"\r", b"\xff", "é".encode(), b"e\xcc\x81 "])).map(
        b"".join
    ),
)


@cache
def corpus(reading: str) -> CorpusSettings:
    return load_settings(overrides=[reading]).corpus


@pytest.mark.parametrize("has_unknown", [False, True])
@pytest.mark.parametrize("reading", READINGS)
@hypothesis.given(content=CONTENTS)
@hypothesis.settings(max_examples=25)
def test_any_bytes_come_back_and_the_model_reads_only_what_it_knows(
    reading: str, has_unknown: bool, content: bytes
) -> None:
    settings, vocabulary = corpus(reading), VOCABULARIES[has_unknown]
    written = rewrite(content, settings, vocabulary)
    ids = vocabulary.encode(written.text, unknown="replace")
    assert vocabulary.decode(ids) == written.text
    edits = unpacked_bytes(packed_bytes(written.edits), at_most=len(written.edits))
    assert restore(Rewritten(vocabulary.decode(ids), written.layout, edits), settings) == content


@pytest.mark.parametrize(
    ("reading", "content", "text"),
    [
        ("corpus.clean.newline=lf", "one\r\ntwo\r\n", "one\ntwo\n"),
        ("corpus.clean.newline=lf", "one\rtwo\r", "one\ntwo\n"),
        ("corpus.encoding=latin-1", "é one", "é one"),
    ],
)
def test_what_a_whole_file_does_alike_needs_no_edits(reading: str, content: str, text: str) -> None:
    settings = corpus(reading)
    written = rewrite(content.encode(settings.encoding), settings, VOCABULARIES[False])
    assert (written.text, written.edits) == (text, b"")


@pytest.mark.parametrize(
    ("reading", "content", "text"),
    [
        ("corpus.clean.newline=lf", "one\r\ntwo\nthree\r\n", "one\ntwo\nthree\n"),
        ("corpus.clean.newline=lf", "\ufeffone 世 two", "one  two"),
        ("corpus.clean.lowercase=true", "One Two\nTHREE", "one two\nthree"),
        ("corpus.clean.unicode=nfc", "e\u0301 one", "é one"),
        ("corpus.clean=letters", " One, two;\nthree. ", "one twothree"),
        ("corpus.items=lines", "one\n\ntwo", "one\ntwo\n"),
        ("corpus.items=files", "one\ntwo\n", "one\ntwo\uffff"),
    ],
)
def test_the_model_reads_what_eval_measures(reading: str, content: str, text: str) -> None:
    written = rewrite(content.encode(), corpus(reading), VOCABULARIES[False])
    assert written.text == text
    assert len(written.edits) > 0


def test_items_between_separators_are_refused_by_name() -> None:
    settings = load_settings(overrides=["corpus.items=separated", "corpus.separator='<|end|>'"]).corpus
    with pytest.raises(ConfigError, match="separator"):
        rewrite(b"one", settings, Vocabulary("a"))


@hypothesis.given(content=strategies.binary(max_size=40))
def test_edits_from_a_stranger_are_read_or_refused(content: bytes) -> None:
    try:
        found = restore(Rewritten("a text", 1, content), corpus("corpus.clean.newline=lf"))
    except DamagedError:
        return
    assert isinstance(found, bytes)


def test_edits_replace_insert_and_remove() -> None:
    edits = [Edit(0, 1, "A"), Edit(2, 0, "ß"), Edit(3, 2, "")]
    assert apply_edits("abcdef", edits) == "Abßcf"
    assert unpack_edits(Reader(pack_edits(edits, "surrogateescape")), "surrogateescape") == edits
    with pytest.raises(DamagedError, match="beyond"):
        apply_edits("abc", [Edit(2, 2, "")])


@hypothesis.given(value=strategies.integers(0, 2**60))
def test_a_number_takes_a_byte_for_seven_bits(value: int) -> None:
    packed = packed_number(value)
    assert Reader(packed).number() == value
    assert len(packed) == max(1, -(-value.bit_length() // 7))


@pytest.mark.parametrize("content", [b"", b"a", b"a" * 3000, bytes(range(256)), b"one two three " * 40])
def test_packed_bytes_come_back_and_are_never_much_longer(content: bytes) -> None:
    packed = packed_bytes(content)
    assert unpacked_bytes(packed, at_most=len(content)) == content
    assert len(packed) <= len(content) + 1


@pytest.mark.parametrize("content", [b"a" * 100_000, b"abcdefg" * 50_000])
def test_a_small_part_cannot_fill_the_memory(content: bytes) -> None:
    packed = packed_bytes(content)
    assert len(packed) < 1000
    with pytest.raises(DamagedError, match="larger than it can be"):
        unpacked_bytes(packed, at_most=len(content) - 1)
