"""Files become characters: which files are read, in which order and encoding, and which are refused."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from charlm.errors import CharlmError, StorageError, TextError
from charlm.library.training import train
from charlm.settings.corpus import CorpusSettings
from charlm.settings.loading import load_run_settings
from charlm.settings.schema import Settings
from charlm.text import files
from charlm.text.decoding import Decoding, read_files
from charlm.text.files import hash_files, keep_standard_input, locate_corpus


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty data folder for this test alone."""
    monkeypatch.setenv("CHARLM_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Return a function that puts bytes on standard input."""

    def put(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return put


def put(path: Path, content: str | bytes) -> Path:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def located(*entries: str | Path) -> tuple[Path, ...]:
    """Return the files that corpus paths lead to."""
    return locate_corpus(CorpusSettings(path=tuple(str(entry) for entry in entries)))


def read(*files: Path, encoding: str = "utf-8") -> str:
    """Return the characters of files."""
    return "".join(read_files(files, Decoding(encoding)))


def likely(encoding: str, line: str) -> str:
    """Return the message about a text that has another encoding than the one asked for."""
    return f"it is likely {encoding}, which reads as 「{line}」 (--set corpus.encoding={encoding})"


def problem(kind: type[CharlmError], call: Callable[[], object]) -> str:
    """Return the sentence of the error that a call raises."""
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def test_files_come_in_the_given_order_with_nothing_between(tmp_path: Path) -> None:
    second, first = put(tmp_path / "b.txt", "two"), put(tmp_path / "a.txt", "one")
    assert located(second, first, second) == (second, first, second)
    assert read(second, first, second) == "twoonetwo"
    assert hash_files([second, first]) == (sha256(b"twoone").hexdigest(), 6)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere.txt", "there is no corpus file {}; `charlm corpus list` shows corpora known by name"),
        ("x" * 300, "cannot read {}: file name too long"),
        ("pipe", "{} is a pipe or a device: name a file, or - to read standard input"),
    ],
)
def test_what_is_not_a_file_is_named(name: str, sentence: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert problem(TextError, lambda: located(tmp_path / name)) == sentence.format(tmp_path / name)


@pytest.mark.parametrize("use", [read, lambda file: hash_files([file])])
def test_a_file_that_vanishes_is_named(use: Callable[[Path], object], tmp_path: Path) -> None:
    gone = tmp_path / "gone.txt"
    assert problem(TextError, lambda: use(gone)) == f"cannot read {gone}: no such file or directory"


@pytest.mark.parametrize(
    ("content", "encoding", "text"),
    [
        (b"a\r\nb\rc\n", "utf-8", "a\r\nb\rc\n"),
        (b"\xef\xbb\xbfa", "utf-8", "a"),
        (b"\xef\xbb\xbf", "utf-8", ""),
        (b"a\xef\xbb\xbfb", "utf-8", "a\ufeffb"),
        (b"\xef\xbb\xbf\xef\xbb\xbfa", "utf-8", "\ufeffa"),
        (bytes(range(1, 256)), "latin-1", "".join(map(chr, range(1, 256)))),
        ("字\n".encode("gb18030"), "gb18030", "字\n"),
        ("a字😀".encode("utf-16"), "utf-16", "a字😀"),
        ("\ufeffa字".encode("utf-16-le"), "utf-16-le", "a字"),
        (b"", "utf-8", ""),
    ],
)
@pytest.mark.parametrize("block", [1, 2, 3, 1 << 20])
def test_characters_are_those_of_the_encoding_without_a_byte_order_mark(
    content: bytes, encoding: str, text: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", block)
    assert read(put(tmp_path / "a.txt", content), encoding=encoding) == text


def test_the_byte_order_mark_of_each_file_is_removed(tmp_path: Path) -> None:
    file = put(tmp_path / "a.txt", "\ufeffa")
    assert read(file, file) == "aa"


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_each_file_is_decoded_separately(order: str, tmp_path: Path) -> None:
    first = put(tmp_path / "a.txt", "\ufeffa字".encode(order))
    second = put(tmp_path / "b.txt", "b😀".encode("utf-16"))
    assert read(first, second, first, encoding="utf-16") == "a字b😀a字"
    half = put(tmp_path / "c.txt", "é".encode()[:1])
    rest = put(tmp_path / "d.txt", "é".encode()[1:])
    assert f"{half} is not utf-8: byte 0xc3 at offset 0" in problem(TextError, lambda: read(half, rest))


@given(text=st.text(st.characters(exclude_characters="\0\ufeff", codec="utf-8")), block=st.integers(1, 7))
@hypothesis_settings(deadline=None)
def test_the_size_of_blocks_changes_nothing(text: str, block: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = put(tmp_path_factory.getbasetemp() / "cut.txt", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK_BYTES", block)
        assert read(file) == text
        assert hash_files([file]) == (sha256(text.encode()).hexdigest(), len(text.encode()))


@pytest.mark.parametrize("block", [2, 3, 5, 1 << 20])
@pytest.mark.parametrize(
    ("content", "encoding", "where"),
    [
        (b"a\n\xe9b\n", "utf-8", "byte 0xe9 at offset 2, line 2; " + likely("cp1252", "éb")),
        ("é\n字\n".encode() + b"x\xff", "utf-8", "byte 0xff at offset 8, line 3"),
        (
            b"ab\n\n\xe5\xad",
            "utf-8",
            "byte 0xe5 at offset 4, line 3; the file ends in the middle of a character: it was cut off",
        ),
        ("aé".encode("utf-16"), "utf-8", "byte 0xff at offset 0, line 1; " + likely("utf-16", "aé")),
        (
            b"\xc3\xa9",
            "ascii",
            "byte 0xc3 at offset 0, line 1; " + likely("utf-8", "é"),
        ),
    ],
)
def test_a_bad_byte_is_named_with_offset_and_line_and_fitting_encodings(
    content: bytes, encoding: str, where: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", block)
    file = put(tmp_path / "a.txt", content)
    sentence = problem(TextError, lambda: read(file, encoding=encoding))
    assert sentence == f"{file} is not {encoding}: {where}"


def test_a_bad_byte_far_into_a_file_is_counted_from_its_start(tmp_path: Path) -> None:
    line = "αβγ line\n".encode()
    content = line * 200_000 + b"\x80" + line
    file = put(tmp_path / "long.txt", content)
    assert (
        f"byte 0x80 at offset {len(line) * 200_000:,}, line 200,001; the rest is valid utf-8: the file is damaged there"
        in problem(TextError, lambda: read(file))
    )


def test_utf_16_without_its_mark_is_refused(tmp_path: Path) -> None:
    file = put(tmp_path / "a.txt", "hé")
    sentence = problem(TextError, lambda: read(file, encoding="utf-16"))
    assert sentence.startswith(
        f"{file} is not utf-16: UTF-16 stream does not start with BOM; it is likely utf-8, which "
    )


@pytest.mark.parametrize("block", [1, 1 << 20])
def test_a_binary_file_is_refused(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", block)
    file = put(tmp_path / "a.bin", b"EXE\x01\x00\x02")
    assert problem(TextError, lambda: read(file)) == (
        f"{file} contains zero bytes: it is a binary file or has another encoding than utf-8"
    )


@pytest.mark.parametrize("encoding", ["nonsense", "", "base64", "rot13", "undefined", "utf\0"])
def test_an_encoding_that_does_not_decode_text_is_refused(encoding: str, tmp_path: Path) -> None:
    file = put(tmp_path / "a.txt", "a")
    sentence = problem(TextError, lambda: read(file, encoding=encoding))
    assert sentence == f"corpus.encoding {encoding!r} is not a text encoding Python knows"


def test_standard_input_is_saved_under_its_hash(feed: Callable[[bytes], None], data_folder: Path) -> None:
    content = "één\r\ntekst\n".encode() * 1000
    expected = data_folder / "stdin" / f"{sha256(content).hexdigest()}.txt"
    for _ in range(2):
        feed(content)
        assert located("-") == (expected,)
        assert expected.read_bytes() == content
    assert list(expected.parent.iterdir()) == [expected]


def test_standard_input_can_come_between_files(feed: Callable[[bytes], None], tmp_path: Path) -> None:
    feed(b"middle ")
    first, last = put(tmp_path / "a.txt", "first "), put(tmp_path / "b.txt", "last")
    assert read(*located(first, "-", last)) == "first middle last"


def test_standard_input_that_cannot_be_saved_names_the_folder(feed: Callable[[bytes], None], data_folder: Path) -> None:
    put(data_folder, "a file where a folder should be")
    feed(b"text")
    sentence = problem(StorageError, keep_standard_input)
    assert sentence == f"cannot save standard input in {data_folder / 'stdin'}: Not a directory"


def test_a_run_on_standard_input_records_the_file_that_repeats_it(
    feed: Callable[[bytes], None],
    tiny_settings: Callable[..., Settings],
    corpus_text: str,
    data_folder: Path,
    tmp_path: Path,
) -> None:
    feed(corpus_text.encode())
    first = train(tiny_settings("corpus.path='-'"), name="first", runs_dir=tmp_path / "runs")
    settings = load_run_settings(first.path / "config.yaml")
    assert settings.corpus.path == (str(data_folder / "stdin" / f"{sha256(corpus_text.encode()).hexdigest()}.txt"),)
    again = train(settings, name="again", runs_dir=tmp_path / "runs")
    assert again.environment()["corpus_sha256"] == first.environment()["corpus_sha256"]
