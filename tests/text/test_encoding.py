"""A corpus is cleaned, counted, encoded and cached, or refused."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.errors import StorageError, TextError
from charlm.settings.corpus import CorpusSettings, VocabularySettings
from charlm.text import corpus as corpus_module
from charlm.text import files
from charlm.text.corpus import Corpus, load_corpus

TEXT = "q" + "Één, twee,\r\n分开 drie.\n" * 50
# The default way of reading.
READ = TEXT.replace("\r\n", "\n")


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty data folder for this test alone."""
    monkeypatch.setenv("CHARLM_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every corpus as large, and read it in small blocks."""
    monkeypatch.setattr(corpus_module, "CACHED_BYTES", 0)
    monkeypatch.setattr(files, "CHUNK_BYTES", 7)


def put(path: Path, content: str | bytes) -> Path:
    """Write a file."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def load(*paths: Path, vocabulary: VocabularySettings = VocabularySettings(), **options: Any) -> Corpus:  # noqa: B008
    """Load a corpus from files."""
    settings = CorpusSettings.model_validate({"path": [str(path) for path in paths], **options})
    return load_corpus(settings, vocabulary)


def refused(call: Callable[[], object]) -> str:
    """Return the sentence that refuses a text."""
    with pytest.raises(TextError) as caught:
        call()
    assert caught.value.exit_code == 3
    return str(caught.value)


def test_a_corpus_has_ids_symbols_files_and_a_hash(tmp_path: Path) -> None:
    first, second = put(tmp_path / "a.txt", TEXT), put(tmp_path / "b.txt", "zz")
    corpus = load(first, second)
    assert corpus.vocabulary.decode(corpus.ids) == READ + "zz"
    assert corpus.vocabulary.characters == "".join(sorted(set(READ + "zz")))
    assert corpus.ids.dtype == np.uint8
    assert corpus.files == (first, second)
    assert corpus.sha256 == sha256((TEXT + "zz").encode()).hexdigest()


OPTIONS = [
    {},
    {"clean": "none"},
    {"clean": {"newline": "lf", "lowercase": True}},
    {"clean": "letters"},
    {"max_chars": 33},
    {"encoding": "latin-1"},
    {"encoding": "latin-1", "clean": {"lowercase": True}, "max_chars": 100},
]
VOCABULARIES = [{}, {"min_count": 2}, {"max_size": 5}]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_a_cached_corpus_equals_the_one_in_memory(
    options: dict[str, Any], vocabulary: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, symbols = put(tmp_path / "a.txt", TEXT), VocabularySettings(**vocabulary)
    expected = load(file, vocabulary=symbols, **options)
    monkeypatch.setattr(corpus_module, "CACHED_BYTES", 0)
    monkeypatch.setattr(files, "CHUNK_BYTES", 7)
    # The second load reads everything from the cache.
    for _ in range(2):
        found = load(file, vocabulary=symbols, **options)
        assert isinstance(found.ids, np.memmap)
        assert not found.ids.flags.writeable
        assert found.ids.dtype == expected.ids.dtype
        assert np.array_equal(found.ids, expected.ids)
        assert (found.vocabulary, found.sha256) == (expected.vocabulary, expected.sha256)
    assert not isinstance(expected.ids, np.memmap)


@pytest.mark.parametrize("size", [100, 300, 70_000])
@pytest.mark.usefixtures("large")
def test_ids_of_every_width_survive_the_cache(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", 1 << 16)
    text = "".join(chr(code) for code in range(1, size + 2049) if not 0xD800 <= code < 0xE000)[:size]
    corpus = load(put(tmp_path / "a.txt", text), clean="none")
    assert corpus.ids.dtype == corpus.vocabulary.dtype
    assert np.array_equal(corpus.ids, np.arange(size))


@pytest.mark.usefixtures("large")
def test_a_second_load_reads_ids_and_counts_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = put(tmp_path / "a.txt", TEXT)
    first = load(file)

    def refuse(*_: object) -> None:
        raise AssertionError("the text was read again")

    monkeypatch.setattr(corpus_module, "read_cleaned", refuse)
    assert np.array_equal(load(file).ids, first.ids)


@pytest.mark.usefixtures("large")
def test_a_different_text_is_never_taken_from_the_cache(tmp_path: Path) -> None:
    file = put(tmp_path / "a.txt", TEXT)
    load(file)
    for options in OPTIONS:
        corpus = load(file, **options)
        assert len(corpus.ids) == len(
            "".join(corpus_module.read_cleaned([file], CorpusSettings.model_validate(options)))
        )
    for vocabulary in VOCABULARIES:
        corpus = load(file, vocabulary=VocabularySettings(**vocabulary))
        assert set(corpus.ids.tolist()) == set(range(len(corpus.vocabulary)))
    put(file, TEXT.upper())
    corpus = load(file)
    assert corpus.vocabulary.decode(corpus.ids) == READ.upper()


@pytest.mark.parametrize("suffix", [".ids", ".counts"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:0],
        lambda content: content[:5],
        lambda content: content[:-1],
        lambda content: bytes([content[0] ^ 1]) + content[1:],
        lambda content: content[:-1] + bytes([content[-1] ^ 128]),
        lambda content: content + b"x",
    ],
    ids=["empty", "short", "cut", "first bit", "last bit", "longer"],
)
@pytest.mark.usefixtures("large")
def test_a_damaged_cache_file_is_written_again(
    suffix: str, damage: Callable[[bytes], bytes], tmp_path: Path, data_folder: Path
) -> None:
    file = put(tmp_path / "a.txt", TEXT)
    load(file)
    (cached,) = (data_folder / "encoded").glob(f"*{suffix}")
    good = cached.read_bytes()
    cached.write_bytes(damage(good))
    corpus = load(file)
    assert corpus.vocabulary.decode(corpus.ids) == READ
    assert cached.read_bytes() == good
    assert len(list(cached.parent.iterdir())) == 2


@pytest.mark.usefixtures("large")
def test_a_cache_that_cannot_be_written_says_how_to_choose_another(tmp_path: Path, data_folder: Path) -> None:
    file = put(tmp_path / "a.txt", TEXT)
    put(data_folder, "a file where a folder should be")
    with pytest.raises(StorageError) as caught:
        load(file)
    assert str(caught.value) == (
        f"cannot write the encoded corpus to {data_folder / 'encoded'}: Not a directory; "
        "CHARLM_DATA_DIR names another folder"
    )
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("failing", ["open", "replace"])
@pytest.mark.usefixtures("large")
def test_a_full_or_read_only_cache_leaves_nothing_half_written(
    failing: str, tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, original = put(tmp_path / "a.txt", TEXT), getattr(Path, failing)

    def refuse(path: Path, *arguments: Any) -> Any:
        if path.is_relative_to(data_folder):
            raise OSError(30, "Read-only file system")
        return original(path, *arguments)

    monkeypatch.setattr(Path, failing, refuse)
    with pytest.raises(StorageError, match="Read-only file system; CHARLM_DATA_DIR names another folder"):
        load(file)
    assert list((data_folder / "encoded").iterdir()) == []


def test_a_small_corpus_does_not_use_the_cache(tmp_path: Path, data_folder: Path) -> None:
    load(put(tmp_path / "a.txt", TEXT))
    assert not data_folder.exists()


def test_a_large_corpus_takes_no_more_memory_than_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "CACHED_BYTES", 0)
    monkeypatch.setattr(files, "CHUNK_BYTES", 1 << 16)
    peaks: list[int] = []
    for copies in (1, 12):
        file = put(tmp_path / f"{copies}.txt", "分开 the words of a line\n" * 30_000 * copies)
        tracemalloc.start()
        assert len(load(file, clean={"lowercase": True}).ids) == 23 * 30_000 * copies
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000


@pytest.mark.parametrize(
    ("content", "options", "sentence"),
    [
        ("", {}, "the corpus {} is empty"),
        ("\ufeff", {}, "the corpus {} is empty after cleaning"),
        ("1234\n", {"clean": "letters"}, "the corpus {} is empty after cleaning"),
        ("aaaa", {}, "the corpus {} has only one symbol: there is nothing to predict"),
        ("ab", {"max_chars": 1}, "the corpus {} has only one symbol: there is nothing to predict"),
        ("a", {}, "the corpus {} has only one symbol: there is nothing to predict"),
    ],
)
@pytest.mark.parametrize("cached_bytes", [0, 1 << 20])
def test_a_text_without_anything_to_predict_is_refused(
    content: str,
    options: dict[str, Any],
    sentence: str,
    cached_bytes: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(corpus_module, "CACHED_BYTES", cached_bytes)
    file = put(tmp_path / "a.txt", content)
    assert refused(lambda: load(file, **options)) == sentence.format(file)


def test_a_vocabulary_of_the_unknown_symbol_alone_is_refused(tmp_path: Path) -> None:
    file = put(tmp_path / "a.txt", "abc")
    assert "has only one symbol" in refused(lambda: load(file, vocabulary=VocabularySettings(min_count=2)))


@pytest.mark.parametrize("content", [b"text\xff\n" * 50, b"text\0\n" * 50])
@pytest.mark.parametrize("cached_bytes", [0, 1 << 20])
def test_an_undecodable_corpus_is_refused_and_nothing_is_cached(
    content: bytes, cached_bytes: int, tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_module, "CACHED_BYTES", cached_bytes)
    file = put(tmp_path / "a.txt", content)
    assert refused(lambda: load(file)).startswith(str(file))
    assert [path for path in data_folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("max_chars", [1, 22, 23, 24, 10_000])
def test_max_chars_counts_after_cleaning(max_chars: int, tmp_path: Path) -> None:
    file = put(tmp_path / "a.txt", "a1b2\r\n" * 20)
    settings = CorpusSettings.model_validate({"clean": {"newline": "lf"}, "max_chars": max_chars})
    assert "".join(corpus_module.read_cleaned([file], settings)) == ("a1b2\n" * 20)[:max_chars]


def test_max_chars_reads_no_further_than_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", 4)
    file = put(tmp_path / "a.txt", b"abcdefgh\xff")
    assert len(load(file, max_chars=6).ids) == 6


@pytest.mark.parametrize("name", ["stories", "lyrics"])
def test_a_bundled_corpus_loads_by_name(name: str) -> None:
    corpus = load_corpus(CorpusSettings(name=name), VocabularySettings())
    assert len(corpus.vocabulary.decode(corpus.ids)) == len(corpus.ids) > 10_000
