"""Compressed texts give the same characters as plain ones, in constant memory, and damaged ones are refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from charlm.errors import TextError
from charlm.settings.corpus import CorpusSettings, VocabularySettings
from charlm.text import decoding, files, unpacking
from charlm.text.corpus import load_corpus
from charlm.text.decoding import Decoding, decode_prefix, read_files
from charlm.text.files import hash_files, keep_standard_input

zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")

TEXT = "Ein Text, überall lesbar.\n" * 400
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    # A small dictionary, whose memory is counted too.
    ".xz": partial(lzma.compress, preset=0),
    ".zst": zstd.compress,
}
EACH = pytest.mark.parametrize("ending", COMPRESS)


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty data folder for this test alone."""
    monkeypatch.setenv("CHARLM_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def put(path: Path, content: bytes) -> Path:
    """Write a file."""
    path.write_bytes(content)
    return path


def read(*paths: Path, encoding: str = "utf-8") -> str:
    """Return the characters of files."""
    return "".join(read_files(paths, Decoding(encoding)))


def refusal(path: Path, content: bytes) -> str:
    """Return the sentence that refuses a file, without its name at the beginning."""
    with pytest.raises(TextError) as caught:
        read(put(path, content))
    return str(caught.value).removeprefix(f"{path} ")


@EACH
@pytest.mark.parametrize("block", [1, 1 << 20])
def test_an_archive_gives_its_text_however_it_is_cut(
    ending: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", block)
    monkeypatch.setattr(unpacking, "UNPACKED_BYTES", 7)
    stored = COMPRESS[ending](TEXT.encode())
    file, plain = put(tmp_path / f"a.txt{ending}", stored), put(tmp_path / "b.txt", b"plain")
    # Several streams in one file, with the zeros of a tape after the first, and of an empty text.
    several = put(tmp_path / f"c.txt{ending.upper()}", stored + bytes(8) + COMPRESS[ending](b"") + stored)
    assert read(file, plain, several) == TEXT + "plain" + TEXT * 2


@EACH
def test_damaged_archives_are_one_sentence(ending: str, tmp_path: Path) -> None:
    file, stored = tmp_path / f"a.txt{ending}", COMPRESS[ending](TEXT.encode())
    assert refusal(file, stored[:-5]) == "is cut off: the archive ends before its text does"
    assert refusal(file, stored[:30]) == "is cut off: the archive ends before its text does"
    assert refusal(file, b"") == "is cut off: the archive ends before its text does"
    assert refusal(file, stored + b"more than the archive").startswith("is damaged: something else follows a")
    middle = len(stored) // 2
    damaged = stored[:middle] + bytes(255 - byte for byte in stored[middle : middle + 9]) + stored[middle + 9 :]
    assert refusal(file, damaged).startswith(("is damaged: it cannot be unpacked (", "is cut off", "is not utf-8"))
    plain = tmp_path / "a.txt"
    assert refusal(file, b"plain text").endswith(f"although its name says so: rename it, with mv {file} {plain}")
    other = ".gz" if ending == ".xz" else ".xz"
    assert refusal(file, COMPRESS[other](TEXT.encode())).endswith(
        f"if its name ends in {other}: mv {file} {file}{other}"
    )


def test_what_a_compressed_file_contains_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.gz"
    assert refusal(file, gzip.compress(b"%PDF-1.7")) == (
        f"contains a PDF, not a text: unpack it first, with gunzip -k {file}"
    )
    assert refusal(file, gzip.compress(bytes(257) + b"ustar")).startswith(
        "is a tar archive: unpack it first, with tar xf"
    )
    assert "byte 0xe9 at offset 5, line 2; it is likely cp1252, which reads as 「été」" in refusal(
        file, gzip.compress("abcd\nété\n".encode("cp1252"))
    )


@EACH
def test_a_bomb_takes_no_more_memory_than_a_text(ending: str, tmp_path: Path) -> None:
    file = put(tmp_path / f"a.txt{ending}", COMPRESS[ending](b"ab\n" * 2_000_000))
    tracemalloc.start()
    chars = sum(map(len, read_files([file])))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert chars == 6_000_000
    assert peak < 5_000_000


def test_zstd_without_its_package_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(sys, "version_info", (3, 11))
    file = put(tmp_path / "a.txt.zst", zstd.compress(b"text"))
    with pytest.raises(
        TextError, match=r"needs the package backports\.zstd.*pip install 'charlm\[zstd\]'; or unpack it"
    ):
        read(file)


def test_a_compressed_corpus_is_hashed_as_it_is_stored_and_cached_by_its_kind(
    tmp_path: Path, data_folder: Path
) -> None:
    plain, packed = put(tmp_path / "a.txt", TEXT.encode()), put(tmp_path / "a.txt.gz", gzip.compress(TEXT.encode()))
    corpora = [
        load_corpus(CorpusSettings(name=None, path=(str(file),)), VocabularySettings())
        for file in (plain, packed, packed)
    ]
    assert all((corpus.ids == corpora[0].ids).all() for corpus in corpora)
    assert corpora[1].sha256 == hash_files([packed])[0]
    assert len(list((data_folder / "encoded").iterdir())) == 2
    # The same bytes under another name are no text, although they are in the cache.
    renamed = put(tmp_path / "renamed.txt", packed.read_bytes())
    with pytest.raises(TextError, match="is a gzip archive"):
        load_corpus(CorpusSettings(name=None, path=(str(renamed),)), VocabularySettings())


def test_a_compressed_corpus_that_grows_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(tmp_path / "a.txt.gz", gzip.compress(TEXT.encode()))
    corpus = CorpusSettings(name=None, path=(str(file),))
    hashed = hash_files([file])
    monkeypatch.setattr("charlm.text.corpus.hash_files", lambda _: hashed)
    file.write_bytes(file.read_bytes() + gzip.compress(b"more\n"))
    with pytest.raises(TextError, match="changed while it was read"):
        load_corpus(corpus, VocabularySettings())


def test_compressed_standard_input_is_kept_under_a_name_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(TEXT.encode()))))
    file = keep_standard_input()
    assert file.name.endswith(".txt.gz")
    assert read(file) == TEXT


def test_a_prefix_is_unpacked_up_to_the_length_of_a_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decode_prefix(gzip.compress(b"The end\n"), "a.gz") == "The end"
    monkeypatch.setattr(decoding, "MAX_PREFIX_BYTES", 100)
    with pytest.raises(TextError, match=r"a\.gz contains more than 100 characters"):
        decode_prefix(gzip.compress(b"a" * 101), "a.gz")
