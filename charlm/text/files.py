"""Find the files of a corpus, and read their bytes as a stream."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from charlm.errors import StorageError, TextError
from charlm.settings.corpus import CorpusSettings
from charlm.settings.nearest import did_you_mean
from charlm.text.compressed import COMPRESSIONS
from charlm.text.folders import Found, search_folder
from charlm.text.known import corpus_file, data_folder, nearest_text
from charlm.text.notices import shown_path

CHUNK_BYTES = 1 << 20


def locate_corpus(corpus: CorpusSettings) -> tuple[Path, ...]:
    """Return the files of a corpus in order; see `find_corpus`."""
    return find_corpus(corpus).files


def find_corpus(corpus: CorpusSettings, *, is_trained: bool = True) -> Found:
    """Find the files of a corpus and say what was left out of its folders; standard input is first saved in the cache.

    Args:
        corpus: the settings.
        is_trained: whether it is the text to train on, for which an option chooses the files of a folder.
    Raises:
        TextError: for a missing file, a folder without texts, a name that is empty or not UTF-8, or a named
            corpus that is unknown or not downloaded.
    """
    if corpus.name is not None:
        return Found((corpus_file(corpus.name),))
    found = [_find(entry, corpus, is_trained=is_trained) for entry in corpus.path or ()]
    files = tuple(file for each in found for file in each.files)
    for file in files:
        if not _is_utf8(str(file)):
            raise TextError(f"the name of {shown_path(file)} is not UTF-8 and cannot be recorded: rename it")
    return Found(files, tuple(notice for each in found for notice in each.notices))


def file_blocks(files: Iterable[Path]) -> Iterator[tuple[Path, bytes]]:
    """Yield the bytes of files block by block, each with its file; an empty block ends a file.

    Raises:
        TextError: for an unreadable file.
    """
    for file in files:
        yield from ((file, block) for block in blocks_of(file))
        yield file, b""


def file_size(file: Path) -> int:
    """Return a file's size in bytes.

    Raises:
        TextError: for an unreadable file.
    """
    try:
        return file.stat().st_size
    except OSError as error:
        raise TextError(f"cannot read {shown_path(file)}: {(error.strerror or str(error)).lower()}") from error


def hash_files(files: Sequence[Path]) -> tuple[str, int]:
    """Return the SHA-256 of the files' bytes as they are stored, one after the other, and their number."""
    digest, size = hashlib.sha256(), 0
    for file in files:
        for block in blocks_of(file):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def _find(entry: str, corpus: CorpusSettings, *, is_trained: bool) -> Found:
    if not entry:
        raise TextError("the name of a text is empty: is a shell variable unset?")
    if entry == "-":
        return Found((keep_standard_input(),))
    path = Path(entry)
    try:
        if path.is_dir():
            return search_folder(path, corpus.glob, is_corpus=is_trained)
        if not path.exists():
            if path.is_symlink():
                raise TextError(
                    f"{shown_path(entry)} is a link that leads to no file; its target is {shown_path(path.readlink())}"
                )
            near = nearest_text(path)
            remedy = did_you_mean(near and shown_path(near)) or "; `charlm corpus list` shows corpora known by name"
            raise TextError(f"there is no corpus file {shown_path(entry)}{remedy}")
        if not path.is_file():
            raise TextError(f"{shown_path(entry)} is a pipe or a device: name a file, or - to read standard input")
    except OSError as error:
        raise TextError(f"cannot read {shown_path(entry)}: {(error.strerror or str(error)).lower()}") from error
    return Found((path,))


def _is_utf8(name: str) -> bool:
    """Say whether a name can be written as UTF-8; Python turns other bytes in file names into surrogates."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def keep_standard_input() -> Path:
    """Save standard input in the cache under its SHA-256, so that a run on it can be repeated.

    A compressed one is saved as it is, under a name that says so.
    """
    folder = data_folder() / "stdin"
    digest, start = hashlib.sha256(), b""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".draft-{os.getpid()}"
        try:
            with draft.open("wb") as file:
                while block := sys.stdin.buffer.read(CHUNK_BYTES):
                    start = start or block
                    digest.update(block)
                    file.write(block)
            ending = next((each.ending for each in COMPRESSIONS if each.begins(start)), "")
            return draft.replace(folder / f"{digest.hexdigest()}.txt{ending}")
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot save standard input in {folder}: {error.strerror}") from error


def blocks_of(file: Path) -> Iterator[bytes]:
    """Yield the bytes of a file block by block.

    Raises:
        TextError: for an unreadable file.
    """
    try:
        with file.open("rb") as stream:
            while block := stream.read(CHUNK_BYTES):
                yield block
    except OSError as error:
        raise TextError(f"cannot read {shown_path(file)}: {(error.strerror or str(error)).lower()}") from error
