"""Items are compared with what Python's own splitting gives; no item is lost, doubled or cut."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.errors import ConfigError, TextError
from charlm.settings.corpus import CorpusSettings, SamplingSettings, VocabularySettings
from charlm.settings.loading import load_settings
from charlm.text import corpus as corpora
from charlm.text.corpus import Corpus, load_corpus
from charlm.text.item_windows import num_batches, read_item_batches
from charlm.text.items import (
    NONCHARACTER,
    batches_of_equal_length,
    begin_item,
    boundary_id,
    ended_items,
    first_items,
    item_places,
    with_boundaries,
)
from charlm.text.splits import Part, Split, split_corpus
from charlm.text.vocabulary import Vocabulary
from charlm.text.windows import PADDING

NAMES = ["Ada", "Grace", "Émile", "Ada", "Jo", "", "Blaise", "  ", "Jo", "Kurt"]
SOME_LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=60)


def read(path: Path, **options: Any) -> tuple[Corpus, CorpusSettings]:
    """Return the corpus of a file or folder, and its settings."""
    settings = CorpusSettings.model_validate({"path": str(path), **options})
    return load_corpus(settings, VocabularySettings()), settings


def items_of(part: Part | None, corpus: Corpus) -> list[str]:
    """Return the items of a split, whose ids begin and end with the boundary."""
    if part is None:
        return []
    assert part.boundary is not None
    end = corpus.vocabulary.characters[part.boundary]
    before, *items, after = corpus.vocabulary.decode(part.ids).split(end)
    assert (before, after) == ("", "")
    assert len(items) == part.num_items
    return items


def all_items(split: Split, corpus: Corpus) -> list[str]:
    """Return the items of all splits."""
    return [item for part in (split.train, split.val, split.test) for item in items_of(part, corpus)]


def put(path: Path, text: str) -> Path:
    """Write a file."""
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_each_line_is_an_item_once_and_empty_lines_are_none(tmp_path: Path, line_end: str) -> None:
    corpus, settings = read(put(tmp_path / "names.txt", line_end.join(NAMES)), items="lines")
    split = split_corpus(corpus, settings.model_copy(update={"split": (3, 2, 1)}))
    assert sorted(all_items(split, corpus)) == sorted({"Ada", "Grace", "Émile", "Jo", "Blaise", "Kurt"})
    assert [split.train.num_items, split.val and split.val.num_items, split.test and split.test.num_items] == [3, 2, 1]
    notices = [notice.sentence for notice in corpus.notices]
    assert "2 duplicate lines and 2 empty lines were left out; 6 items to learn" in notices


def test_splits_do_not_depend_on_the_order_of_the_file(tmp_path: Path) -> None:
    names = [f"name {number}" for number in range(40)]
    texts = ["\n".join(names), "\n".join(Random(0).sample(names, 40)) + "\n"]
    read_ones = [read(put(tmp_path / f"{number}.txt", text), items="lines") for number, text in enumerate(texts)]
    first, second = (split_corpus(*each) for each in read_ones)
    assert [part and part.sha256 for part in vars(first).values()] == [
        part and part.sha256 for part in vars(second).values()
    ]
    in_order = items_of(first.train, read_ones[0][0])
    assert in_order != sorted(in_order)


def test_documents_stand_between_separators(tmp_path: Path) -> None:
    text = "\nfirst\nline\n<|end|>\nsecond<|end|><|end|>\n\nthird\n"
    corpus, settings = read(put(tmp_path / "a.txt", text), items="separated", separator="<|end|>", split="none")
    assert sorted(items_of(split_corpus(corpus, settings).train, corpus)) == ["first\nline", "second", "third"]


def test_each_file_of_a_folder_is_an_item(tmp_path: Path) -> None:
    for name, text in {"a": "one\ntwo\n", "b": "three", "c": "one\ntwo\n", "d": "\n"}.items():
        put(tmp_path / f"{name}.txt", text)
    corpus, settings = read(tmp_path, items="files", split="none")
    assert sorted(items_of(split_corpus(corpus, settings).train, corpus)) == ["one\ntwo", "three"]
    assert any("1 duplicate file and 1 empty file" in notice.sentence for notice in corpus.notices)


def test_items_are_cleaned_one_by_one(tmp_path: Path) -> None:
    path = put(tmp_path / "a.txt", "Ada L.\nO'Neil\n123\n")
    for clean, expected in (("letters", ["ada l", "o neil"]), ({"lowercase": True}, ["123", "ada l.", "o'neil"])):
        corpus, settings = read(path, items="lines", clean=clean, split="none")
        assert sorted(items_of(split_corpus(corpus, settings).train, corpus)) == expected


def test_max_chars_cuts_no_item(tmp_path: Path) -> None:
    path = put(tmp_path / "a.txt", "aaaa\nbbbb\ncccc\n")
    for most, expected in ((14, ["aaaa", "bbbb"]), (15, ["aaaa", "bbbb", "cccc"]), (2, ["aaaa"])):
        corpus, settings = read(path, items="lines", max_chars=most, split="none")
        assert sorted(items_of(split_corpus(corpus, settings).train, corpus)) == expected


def test_the_boundary_is_never_too_rare_for_a_symbol(tmp_path: Path) -> None:
    settings = CorpusSettings.model_validate({"path": str(put(tmp_path / "a.txt", "aab\nba\n")), "items": "lines"})
    corpus = load_corpus(settings, VocabularySettings(min_count=3))
    assert (corpus.vocabulary.characters, corpus.vocabulary.has_unknown) == ("\na", True)


def test_a_large_list_is_read_from_the_cache_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "a.txt", "\n".join(NAMES))
    small, _ = read(path, items="lines")
    monkeypatch.setattr(corpora, "CACHED_BYTES", 1)
    for _ in range(2):
        large, _ = read(path, items="lines")
        assert np.array_equal(large.ids, small.ids)
        assert large.notices == small.notices


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("a\nb\n", {"items": "separated", "separator": "XX"}, "the separator 'XX' does not occur in the text"),
        ("a\nb\n", {"items": "separated", "separator": "\\n\\n"}, "type $'"),
        ("\n \n", {"items": "lines"}, "has no items: all of them are empty"),
        ("a" + NONCHARACTER, {"items": "files"}, "U+FFFF"),
        ("a|" + NONCHARACTER, {"items": "separated", "separator": "|"}, "U+FFFF"),
    ],
)
def test_a_text_without_items_is_refused(tmp_path: Path, text: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TextError) as refused:
        read(put(tmp_path / "a.txt", text), **options)
    assert sentence in str(refused.value)


def test_a_single_item_can_only_be_trained_on(tmp_path: Path) -> None:
    corpus, settings = read(put(tmp_path / "a.txt", "hello\n"), items="lines")
    with pytest.raises(TextError, match=r"none of the corpus's 1 item: .* --set corpus\.split=none"):
        split_corpus(corpus, settings)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["corpus.separator=x"], "corpus.separator needs corpus.items separated"),
        (["corpus.items=separated"], "corpus.separator must be given"),
        (["corpus.items=separated", "corpus.separator=''"], "corpus.separator must be given"),
        (["corpus.items=lines", "model.direction=bidirectional"], "bidirectional reads running text only"),
        (["corpus.items=lines", "model.direction=leaky"], "leaky reads running text only"),
    ],
)
def test_settings_that_contradict_items_are_refused(overrides: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_settings(overrides=overrides)
    assert sentence in str(refused.value)


@given(st.lists(st.integers(0, 2), max_size=30))
def test_boundaries_stand_once_before_between_and_after_items(ids: list[int]) -> None:
    text = with_boundaries(np.array(ids, np.uint8), 0)
    expected = [piece for piece in "".join(map(str, ids)).split("0") if piece]
    assert "".join(map(str, text)) == "0" + "".join(piece + "0" for piece in expected)


@given(SOME_LENGTHS, st.integers(2, 100))
def test_the_first_items_are_whole_and_as_many_as_fit(lengths: list[int], most: int) -> None:
    ids = joined(lengths)
    found = first_items(ids, 0, most)
    ends = np.cumsum([0, *(length + 1 for length in lengths)])
    fitting = [int(end) + 1 for end in ends[1:] if end < most]
    assert len(found) == (fitting[-1] if fitting else int(ends[1]) + 1)
    assert np.array_equal(found, ids[: len(found)])


def test_a_prefix_begins_an_item_and_must_not_end_one() -> None:
    ids = np.array([1, 2], np.uint8)
    assert begin_item(ids, None, "forward", "it").tolist() == [1, 2]
    assert begin_item(ids, 0, "forward", "it").tolist() == [0, 1, 2]
    assert begin_item(ids, 0, "backward", "it").tolist() == [1, 2, 0]
    with pytest.raises(TextError, match="it contains the end of an item"):
        begin_item(np.array([1, 0], np.uint8), 0, "forward", "it")


def test_other_texts_keep_their_items_in_order() -> None:
    settings = CorpusSettings.model_validate({"items": "lines", "clean": {"lowercase": True}})
    assert list(ended_items(iter(["B\r", "\nA\n\nA"]), settings)) == ["b\n", "a\n", "\n", "a\n"]
    assert boundary_id(CorpusSettings(), Vocabulary("\nab")) is None


# Windows of items.


def joined(lengths: list[int]) -> np.ndarray:
    """Return items of these lengths between boundaries; no character occurs twice among the first 200."""
    text = [0]
    for length in lengths:
        text += [1 + (len(text) + number) % 200 for number in range(length)] + [0]
    return np.array(text, np.uint8)


@given(SOME_LENGTHS, st.integers(1, 4), st.integers(1, 12), st.integers(0, 2))
def test_an_epoch_predicts_each_character_of_each_item_once(
    lengths: list[int], batch_size: int, seq_len: int, epoch: int
) -> None:
    ids, sampling = joined(lengths), SamplingSettings(batch_size=batch_size, seq_len=seq_len)
    batches = list(read_item_batches(ids, 0, sampling, seed=0, epoch=epoch))
    assert len(batches) == num_batches(Part(ids, "", boundary=0), sampling)
    found: Counter[bytes] = Counter()
    rows: list[list[int]] = []
    for window in (window for batch in batches for window in batch):
        if window.starts_anew:
            found.update(bytes(row) for row in rows)
            rows = [[] for _ in range(window.inputs.shape[1])]
            assert (window.inputs[0] == 0).all()
        # The rows that go on are the first ones, and only those that end may be padded.
        assert window.inputs.shape[1] <= len(rows)
        assert len(window.inputs) <= seq_len
        assert window.num_padded == (window.targets == PADDING).sum()
        for column in range(window.inputs.shape[1]):
            targets = window.targets[:, column]
            kept = targets[targets != PADDING].tolist()
            assert kept
            assert window.inputs[0, column] == (rows[column][-1] if rows[column] else 0)
            assert window.inputs[1 : len(kept), column].tolist() == kept[:-1]
            rows[column] += kept
    found.update(bytes(row) for row in rows)
    places, counts = item_places(ids, 0)
    assert found == Counter(
        bytes(ids[place + 1 : place + count + 1]) for place, count in zip(places, counts, strict=True)
    )


@given(SOME_LENGTHS, st.integers(1, 4), st.integers(1, 12))
def test_a_batch_is_no_larger_than_one_of_a_running_text(lengths: list[int], batch_size: int, seq_len: int) -> None:
    sampling = SamplingSettings(batch_size=batch_size, seq_len=seq_len)
    for batch in read_item_batches(joined(lengths), 0, sampling, seed=0, epoch=0):
        assert sum(window.inputs.size for window in batch) <= batch_size * seq_len
        # A checkpoint has room for the states of this many rows.
        if len(batch) > 1 or not batch[0].starts_anew:
            assert batch[-1].inputs.shape[1] <= batch_size


def test_batches_are_a_function_of_seed_and_epoch_and_can_begin_anywhere() -> None:
    ids, sampling = joined([3, 9, 30, 4, 5, 6, 7, 2, 2, 2, 1, 40]), SamplingSettings(batch_size=2, seq_len=8)

    def batches(**order: int) -> list[list[list[int]]]:
        return [[window.targets.tolist() for window in batch] for batch in read_item_batches(ids, 0, sampling, **order)]

    whole = batches(seed=0, epoch=1)
    assert whole == batches(seed=0, epoch=1)
    assert batches(seed=0, epoch=1, start=3) == whole[3:]
    assert batches(seed=0, epoch=2) != whole
    assert batches(seed=1, epoch=1) != whole


def test_batches_of_equal_length_hold_each_item_once() -> None:
    lengths = np.array([3, 1, 3, 2, 3, 1])
    batches = [batch.tolist() for batch in batches_of_equal_length(lengths, 10)]
    assert batches == [[1, 5], [3], [0, 2], [4]]
    assert list(batches_of_equal_length(lengths[:0], 10)) == []
