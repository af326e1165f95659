"""Unpack compressed files as a stream, in constant memory however much comes out of them."""

from __future__ import annotations

import shlex
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Protocol

from charlm.errors import TextError, printable
from charlm.text.compressed import MARK_BYTES, Compression, compression_of, without_compression
from charlm.text.kinds import other_kind
from charlm.text.notices import shown_path

# The most bytes that are unpacked at a time, and that an archive may ask for to be unpacked at all; xz -9 needs 65 MB.
UNPACKED_BYTES, MEMORY_BYTES = 1 << 20, 1 << 28
MAX_REASON = 200


class Unpacker(Protocol):
    """Unpack one stream of an archive, as Python's own classes for bzip2, xz and zstd do."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was reached."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes out without more input."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What followed the end of the stream."""
        ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Take some input, and return at most so many bytes of what comes out."""
        ...


class Gzip:
    """Unpack a gzip stream like the other formats."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._is_full = False

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was reached."""
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes out without more input."""
        return not self._is_full

    @property
    def unused_data(self) -> bytes:
        """What followed the end of the stream."""
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take some input, and return at most so many bytes of what comes out."""
        unpacked = self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        # More may be waiting inside zlib even when it has taken all input.
        self._is_full = len(unpacked) == max_length
        return unpacked


def unpacked_blocks(blocks: Iterable[tuple[Path, bytes]]) -> Iterator[tuple[Path, bytes]]:
    """Unpack those files whose names say that they are compressed, and leave the others as they are.

    Args:
        blocks: the bytes of files block by block, each with its file; an empty block ends a file.

    Raises:
        TextError: for an archive that is damaged, cut off, or not what its name says, and for a format that this
            Python cannot read.
    """
    archive: _Archive | None = None
    for file, block in blocks:
        if archive is None and (compression := compression_of(file)) is not None:
            archive = _Archive(file, compression)
        if archive is None:
            yield file, block
            continue
        yield from ((file, piece) for piece in archive.unpacked(block))
        if not block:
            yield file, b""
            archive = None


@dataclass(frozen=True)
class _Format:
    """How Python unpacks a compression: what begins a stream, and the error of a damaged one."""

    unpacker: Callable[[], Unpacker]
    error: type[Exception]


class _Archive:
    """A compressed file while it is unpacked: one stream or several, one after the other."""

    def __init__(self, file: Path, compression: Compression) -> None:
        self._file, self._compression = file, compression
        self._format = _format(file, compression)
        self._unpacker: Unpacker | None = None
        # Bytes that are too few to tell whether a stream begins with them.
        self._held = b""
        self._is_begun = False

    def unpacked(self, block: bytes) -> Iterator[bytes]:
        """Yield what comes out of the next block; an empty one is the end."""
        held = self._held + block
        while held:
            if self._unpacker is None:
                # Zeros may fill up the space after a stream.
                held = held.lstrip(b"\0") if self._is_begun else held
                if not held or (block and len(held) < MARK_BYTES):
                    break
                self._begin(held)
            assert self._unpacker is not None
            yield from self._pieces(self._unpacker, held)
            held = self._unpacker.unused_data
            if self._unpacker.eof:
                self._unpacker = None
        self._held = held
        if not block and (self._unpacker is not None or not self._is_begun):
            raise TextError(f"{shown_path(self._file)} is cut off: the archive ends before its text does")

    def _begin(self, start: bytes) -> None:
        if not self._compression.begins(start):
            raise TextError(f"{shown_path(self._file)} {self._refusal(start)}")
        self._unpacker, self._is_begun = self._format.unpacker(), True

    def _pieces(self, unpacker: Unpacker, data: bytes) -> Iterator[bytes]:
        try:
            while True:
                if piece := unpacker.decompress(data, UNPACKED_BYTES):
                    yield piece
                # Zstd may ask for no input although nothing more comes out, where an archive was cut off.
                if unpacker.eof or unpacker.needs_input or not (piece or data):
                    return
                data = b""
        except self._format.error as error:
            raise TextError(
                f"{shown_path(self._file)} is damaged: it cannot be unpacked ({printable(str(error), MAX_REASON)}); "
                f"{self._compression.test} {shlex.quote(str(self._file))} tests it"
            ) from error

    def _refusal(self, start: bytes) -> str:
        """Say what is wrong with bytes that begin no stream of this kind."""
        if self._is_begun:
            return f"is damaged: something else follows {self._compression.kind}"
        plain, name = shlex.quote(without_compression(str(self._file))), shlex.quote(str(self._file))
        kind = other_kind(start, str(self._file))
        return kind or f"is not {self._compression.kind}, although its name says so: rename it, with mv {name} {plain}"


def _format(file: Path, compression: Compression) -> _Format:
    if compression.ending == ".gz":
        return _Format(Gzip, zlib.error)
    try:
        if compression.ending == ".bz2":
            return _Format(import_module("bz2").BZ2Decompressor, OSError)
        if compression.ending == ".xz":
            lzma = import_module("lzma")
            return _Format(partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, MEMORY_BYTES), lzma.LZMAError)
        zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    except ModuleNotFoundError as error:
        remedy = f"this Python lacks {error.name}"
        if compression.ending == ".zst" and sys.version_info < (3, 14):
            remedy = "that needs the package backports.zstd, which is not installed: pip install 'charlm[zstd]'"
        raise TextError(
            f"cannot read {shown_path(file)}: it is {compression.kind}, and {remedy}; or unpack it first, with "
            f"{compression.unpack} {shlex.quote(str(file))}"
        ) from error
    return _Format(zstd.ZstdDecompressor, zstd.ZstdError)
