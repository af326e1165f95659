"""Where a corpus lies, and its characters as a stream."""

from __future__ import annotations

import codecs
import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from charlm.errors import StorageError, TextError
from charlm.settings.schema import CorpusSettings
from charlm.text.known import corpus_file, data_folder

CHUNK_BYTES = 1 << 20
# Tried in this order for a suggestion; latin-1 decodes anything and so comes last.
LIKELY_ENCODINGS = ("utf-8", "utf-16", "gb18030", "shift_jis", "cp1252", "latin-1")


def locate_corpus(corpus: CorpusSettings) -> tuple[Path, ...]:
    """Return the files of a corpus in their order; standard input is first kept in the cache.

    Raises:
        TextError: for a missing file, a folder without .txt files, an unknown or absent named corpus.
    """
    if corpus.name is not None:
        return (corpus_file(corpus.name),)
    return tuple(file for entry in corpus.path or () for file in _files_of(entry))


def read_files(files: Iterable[Path], encoding: str = "utf-8") -> Iterator[str]:
    """Stream the characters of some files, newlines as they are, nothing between the files.

    Args:
        files: the files, in order.
        encoding: decoded strictly; a byte order mark at a file's start is removed.
    Raises:
        TextError: for an unreadable file, and for a byte that does not decode, with file, offset and line.
    """
    try:
        # Unlike codecs.lookup this refuses codecs that do not decode bytes to text, such as base64.
        "".encode(encoding)
    except (LookupError, ValueError) as error:
        raise TextError(f"corpus.encoding {encoding!r} is not a text encoding Python knows") from error
    for file in files:
        yield from _read_file(file, encoding)


def hash_files(files: Sequence[Path]) -> tuple[str, int]:
    """Return the SHA-256 of the files' bytes, one after the other, and their number."""
    digest, size = hashlib.sha256(), 0
    for file in files:
        for block in _blocks(file):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def with_kept_input(corpus: CorpusSettings) -> CorpusSettings:
    """Return settings with the file that standard input is kept in instead of `-`: a run on it can be repeated."""
    if "-" not in (corpus.path or ()):
        return corpus
    files = tuple(str(file) for file in locate_corpus(corpus))
    return corpus.model_copy(update={"path": files})


def _files_of(entry: str) -> list[Path]:
    if entry == "-":
        return [keep_standard_input()]
    path = Path(entry)
    try:
        if path.is_dir():
            return _text_files(path)
        if not path.exists():
            raise TextError(f"there is no corpus file {entry}; `charlm corpus list` shows corpora known by name")
        if not path.is_file():
            raise TextError(f"{entry} is a pipe or a device: give a file, or - to read standard input")
    except OSError as error:
        raise TextError(f"cannot read {entry}: {(error.strerror or str(error)).lower()}") from error
    return [path]


def _text_files(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.iterdir() if file.suffix == ".txt" and file.is_file())
    if not files:
        raise TextError(f"the folder {folder} has no .txt files (folders inside it are not searched)")
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
        raise TextError(f"cannot read {file}: {(error.strerror or str(error)).lower()}") from error


def _read_file(file: Path, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, is_start = 0, True
    pending: Callable[[], int] = lambda: len(decoder.getstate()[0])  # noqa: E731
    for block in _blocks(file):
        held = pending()
        text = _decode(decoder, block, file=file, encoding=encoding, offset=offset - held, is_final=False)
        offset += len(block)
        if text and is_start:
            text, is_start = text.removeprefix("\N{BYTE ORDER MARK}"), False
        yield text
    _decode(decoder, b"", file=file, encoding=encoding, offset=offset - pending(), is_final=True)


def _decode(
    decoder: codecs.IncrementalDecoder,
    block: bytes,
    *,
    file: Path,
    encoding: str,
    offset: int,
    is_final: bool,
) -> str:
    try:
        text = decoder.decode(block, is_final)
    except UnicodeDecodeError as error:
        raise TextError(_bad_byte(file, encoding, offset + error.start)) from error
    except UnicodeError as error:
        # Some codecs name no byte: UTF-16 without a byte order mark, for one.
        raise TextError(f"{file} is not {encoding}: {error}{_suggestion(file, encoding)}") from error
    if "\0" in text:
        hint = _suggestion(file, encoding)
        raise TextError(f"{file} holds zero bytes: it is a binary file or another encoding than {encoding}{hint}")
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
        f"{file} is not {encoding}: byte 0x{value.hex()} at offset {position:,}, line {line:,}"
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
