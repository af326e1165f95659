"""Find the files of a corpus, and read their bytes as a stream."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from charlm.errors import StorageError, TextError, printable
from charlm.settings.corpus import CorpusSettings
from charlm.settings.nearest import did_you_mean
from charlm.text.known import corpus_file, data_folder, nearest_text
from charlm.text.notices import Notice, times

CHUNK_BYTES = 1 << 20
MAX_NAME = 1_000
# Kinds that get a plural s, unlike endings.
NOUNS = ("folder", "broken link", "hidden file", "pipe", "file without an ending")


@dataclass(frozen=True)
class Found:
    """The files of a corpus in order, and notices on what was left out."""

    files: tuple[Path, ...]
    notices: tuple[Notice, ...] = ()


def locate_corpus(corpus: CorpusSettings) -> tuple[Path, ...]:
    """Return the files of a corpus in order; see `find_corpus`."""
    return find_corpus(corpus).files


def find_corpus(corpus: CorpusSettings) -> Found:
    """Find the files of a corpus and say what was left out of its folders; standard input is first saved in the cache.

    Raises:
        TextError: for a missing file, a folder without .txt files, a name that is empty or not UTF-8, or a named
            corpus that is unknown or not downloaded.
    """
    if corpus.name is not None:
        return Found((corpus_file(corpus.name),))
    found = [_find(entry) for entry in corpus.path or ()]
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
    """Return the SHA-256 of the files' bytes, one after the other, and their number."""
    digest, size = hashlib.sha256(), 0
    for file in files:
        for block in blocks_of(file):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def shown_path(path: Path | str) -> str:
    """Return a path for a sentence, on one line and shortened if it is very long."""
    return printable(str(path), MAX_NAME)


def _find(entry: str) -> Found:
    if not entry:
        raise TextError("the name of a text is empty: is a shell variable unset?")
    if entry == "-":
        return Found((keep_standard_input(),))
    path = Path(entry)
    try:
        if path.is_dir():
            return _search(path)
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


def _search(folder: Path) -> Found:
    """Find the .txt files in a folder, and count everything else in it."""
    entries = sorted(folder.iterdir())
    files = tuple(entry for entry in entries if entry.suffix == ".txt" and entry.is_file())
    others = Counter(_kind(entry) for entry in entries if entry not in set(files))
    # The most frequent first, folders last.
    kinds = sorted(others, key=lambda kind: (kind == "folder", -others[kind], kind))
    left = ", ".join(times(others[kind], kind) if kind in NOUNS else f"{others[kind]:,} {kind}" for kind in kinds)
    if not files:
        raise TextError(f"the folder {shown_path(folder)} {_nothing_to_read(folder, kinds, left)}")
    read = f"read {len(files):,} .txt {'file' if len(files) == 1 else 'files'} of {shown_path(folder)}/"
    is_part = sum(number for kind, number in others.items() if kind.startswith(".")) > len(files)
    return Found(files, (Notice(read + (f"; left out: {left}" if left else ""), is_warning=is_part),))


def _kind(entry: Path) -> str:
    """Return the kind of an entry that is not read: its ending, or a noun."""
    if entry.is_dir():
        return "folder"
    if entry.is_symlink() and not entry.exists():
        return "broken link"
    if not entry.is_file():
        return "pipe"
    return (
        "hidden file"
        if entry.name.startswith(".")
        else printable(entry.suffix)
        if entry.suffix
        else "file without an ending"
    )


def _nothing_to_read(folder: Path, kinds: list[str], left: str) -> str:
    """Say what a folder without .txt files contains, and what to type."""
    place = shlex.quote(shown_path(folder))
    endings = [kind for kind in kinds if kind.startswith(".")]
    if endings:
        return (
            f"has no .txt files, it has {left}: name the files themselves, such as charlm train {place}/*{endings[0]}"
        )
    if "folder" in kinds:
        return f"has no .txt files, it has {left}, and folders inside it are not searched: name one of them"
    return f"has no .txt files, it has {left}: name the files themselves" if left else "is empty: name a text file"


def keep_standard_input() -> Path:
    """Save standard input in the cache under its SHA-256, so that a run on it can be repeated."""
    folder = data_folder() / "stdin"
    digest = hashlib.sha256()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".draft-{os.getpid()}"
        try:
            with draft.open("wb") as file:
                while block := sys.stdin.buffer.read(CHUNK_BYTES):
                    digest.update(block)
                    file.write(block)
            return draft.replace(folder / f"{digest.hexdigest()}.txt")
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
