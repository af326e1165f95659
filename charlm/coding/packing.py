"""Small pieces of a coded file: whole numbers of any size, and bytes that a general compressor makes shorter."""

from __future__ import annotations

import lzma
import zlib

STORED, DEFLATED, LZMA = range(3)
# The tables for a larger dictionary would take longer to make than most edits take to pack.
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 20}]
# A number of more bytes than this is no length of anything.
MAX_NUMBER_BYTES = 9


class DamagedError(Exception):
    """Report, as a clause, why bytes cannot be what was written."""


class Reader:
    """Read bytes piece by piece, never beyond their end.

    Args:
        content: the bytes.
    """

    def __init__(self, content: bytes) -> None:
        self._content, self._position = content, 0

    def take(self, number: int) -> bytes:
        """Return the next bytes.

        Raises:
            DamagedError: where fewer are left.
        """
        if number > len(self._content) - self._position:
            raise DamagedError("it ends too early")
        self._position += number
        return self._content[self._position - number : self._position]

    def number(self) -> int:
        """Return the next number, as `packed_number` wrote it.

        Raises:
            DamagedError: where there is none.
        """
        value = 0
        for place in range(MAX_NUMBER_BYTES):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return value
        raise DamagedError("a length in it is too large")

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(len(self._content) - self._position)


def packed_number(value: int) -> bytes:
    """Return a whole number from 0 on in as few bytes as it needs, seven bits in each, the lowest first."""
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def packed_bytes(content: bytes) -> bytes:
    """Return bytes in the shortest of three ways, the first of which is as they are; no bytes stay none."""
    if not content:
        return b""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    ways = (
        content,
        deflate.compress(content) + deflate.flush(),
        lzma.compress(content, lzma.FORMAT_RAW, filters=FILTERS),
    )
    way = min(range(len(ways)), key=lambda number: len(ways[number]))
    return bytes([way]) + ways[way]


def unpacked_bytes(content: bytes, *, at_most: int) -> bytes:
    """Return what `packed_bytes` was given.

    Args:
        content: what it returned.
        at_most: more bytes than this are refused, so that a small file cannot fill the memory.
    Raises:
        DamagedError: for anything else.
    """
    if not content:
        return b""
    way, packed = content[0], content[1:]
    try:
        if way == STORED:
            found = packed
        elif way == DEFLATED:
            found = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, at_most + 1)
        elif way == LZMA:
            found = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=FILTERS).decompress(packed, at_most + 1)
        else:
            raise DamagedError("it is packed in an unknown way")
    except (zlib.error, lzma.LZMAError) as error:
        raise DamagedError("a part of it cannot be unpacked") from error
    if len(found) > at_most:
        raise DamagedError("a part of it is larger than it can be")
    return found
