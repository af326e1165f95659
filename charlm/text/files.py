"""Where a corpus lies, and its characters as a stream."""

from __future__ import annotations

import codecs
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from charlm.errors import StorageError, TextError, printable
from charlm.settings.corpus import CorpusSettings
from charlm.settings.nearest import did_you_mean
from charlm.text.known import corpus_file, data_folder, nearest_text

CHUNK_BYTES = 1 << 20
MAX_NAME = 1_000
# Tried in this order for a suggestion; latin-1 decodes anything and so comes last.
LIKELY_ENCODINGS = ("utf-8", "utf-16", "gb18030", "shift_jis", "cp1252", "latin-1")


def locate_corpus(corpus: CorpusSettings) -> tuple[Path, ...]:
    """Return the files of a corpus in their order; standard input is first kept in the cache.

    Raises:
        TextError: for a missing file, a folder without .txt files, a name that is not UTF-8, an unknown or absent
            named corpus.
    """
    if corpus.name is not None:
        return (corpus_file(corpus.name),)
    files = tuple(file for entry in corpus.path or () for file in _files_of(entry))
    for file in files:
        if not _is_utf8(str(file)):
            raise TextError(f"the name of {shown_path(file)} is not UTF-8 and cannot be recorded: rename it")
    return files


def read_files(files: Iterable[Path], encoding: str = "utf-8") -> Iterator[str]:
    """Stream the characters of some files, newlines as they are, nothing between the files.

    Args:
        files: the files, in order.
        encoding: decoded strictly; a byte order mark at a file's start is removed.
    Raises:
        TextError: for an unreadable file, and for a byte that does not decode, with file, offset and line.
    """
    return decode_blocks(file_blocks(files), encoding)


def file_blocks(files: Iterable[Path]) -> Iterator[tuple[Path, bytes]]:
    """Yield the bytes of some files, block by block, each with its file; an empty block ends a file.

    Raises:
        TextError: for an unreadable file.
    """
    for file in files:
        yield from ((file, block) for block in _blocks(file))
        yield file, b""


def decode_blocks(blocks: Iterable[tuple[Path, bytes]], encoding: str) -> Iterator[str]:
    """Stream the characters of blocks such as those of `file_blocks`; see `read_files`."""
    try:
        # Unlike codecs.lookup this refuses codecs that do not decode bytes to text, such as base64.
        "".encode(encoding)
    except (LookupError, ValueError) as error:
        raise TextError(f"corpus.encoding {encoding!r} is not a text encoding Python knows") from error
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, is_start = 0, True
    for file, block in blocks:
        held = len(decoder.getstate()[0])
        text = _decode(decoder, block, file=file, encoding=encoding, offset=offset - held)
        if text and is_start:
            text, is_start = text.removeprefix("\N{BYTE ORDER MARK}"), False
        yield text
        offset += len(block)
        if not block:
            decoder.reset()
            offset, is_start = 0, True


def hash_files(files: Sequence[Path]) -> tuple[str, int]:
    """Return the SHA-256 of the files' bytes, one after the other, and their number."""
    digest, size = hashlib.sha256(), 0
    for file in files:
        for block in _blocks(file):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def shown_path(path: Path | str) -> str:
    """Return a path as a sentence shows it, on one line and of bearable length."""
    return printable(str(path), MAX_NAME)


def _files_of(entry: str) -> list[Path]:
    if entry == "-":
        return [keep_standard_input()]
    path = Path(entry)
    try:
        if path.is_dir():
            return _text_files(path)
        if not path.exists():
            near = nearest_text(path)
            remedy = did_you_mean(near and shown_path(near)) or "; `charlm corpus list` shows corpora known by name"
            raise TextError(f"there is no corpus file {shown_path(entry)}{remedy}")
        if not path.is_file():
            raise TextError(f"{shown_path(entry)} is a pipe or a device: give a file, or - to read standard input")
    except OSError as error:
        raise TextError(f"cannot read {shown_path(entry)}: {(error.strerror or str(error)).lower()}") from error
    return [path]


def _is_utf8(name: str) -> bool:
    """Say whether a name can be written down; bytes that are no UTF-8 are surrogates in Python's names."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _text_files(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.iterdir() if file.suffix == ".txt" and file.is_file())
    if not files:
        raise TextError(f"the folder {shown_path(folder)} has no .txt files (folders inside it are not searched)")
    return files


def keep_standard_input() -> Path:
    """Write standard input into the cache under its SHA-256, so that a run on it can be repeated."""
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
        raise StorageError(f"cannot keep standard input in {folder}: {error.strerror}") from error


def _blocks(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as stream:
            while block := stream.read(CHUNK_BYTES):
                yield block
    except OSError as error:
        raise TextError(f"cannot read {shown_path(file)}: {(error.strerror or str(error)).lower()}") from error


def _decode(decoder: codecs.IncrementalDecoder, block: bytes, *, file: Path, encoding: str, offset: int) -> str:
    try:
        text = decoder.decode(block, final=not block)
    except UnicodeDecodeError as error:
        raise TextError(_bad_byte(file, encoding, offset + error.start)) from error
    except UnicodeError as error:
        # Some codecs name no byte: UTF-16 without a byte order mark, for one.
        raise TextError(f"{shown_path(file)} is not {encoding}: {error}{_suggestion(file, encoding)}") from error
    if "\0" in text:
        hint = _suggestion(file, encoding)
        raise TextError(
            f"{shown_path(file)} holds zero bytes: it is a binary file or another encoding than {encoding}{hint}"
        )
    return text


def _bad_byte(file: Path, encoding: str, position: int) -> str:
    line, seen, value = 1, 0, b""
    for block in _blocks(file):
        if seen + len(block) > position:
            line += block[: position - seen].count(b"\n")
            value = block[position - seen : position - seen + 1]
            break
        line += block.count(b"\n")
        seen += len(block)
    return (
        f"{shown_path(file)} is not {encoding}: byte 0x{value.hex()} at offset {position:,}, line {line:,}"
        f"{_suggestion(file, encoding)}"
    )


def _suggestion(file: Path, encoding: str) -> str:
    fitting = [candidate for candidate in LIKELY_ENCODINGS if candidate != encoding and _decodes(file, candidate)]
    return f"; it decodes as {', '.join(fitting)} (--set corpus.encoding=...)" if fitting else ""


def _decodes(file: Path, encoding: str) -> bool:
    """Say whether a whole file decodes; UTF-16 without a mark decodes nearly anything and is not counted."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for number, block in enumerate(_blocks(file)):
            if number == 0 and encoding == "utf-16" and block[:2] not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                return False
            if "\0" in decoder.decode(block):
                return False
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return False
    return True
