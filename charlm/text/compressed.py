"""The compressed files that charlm reads, by the endings of their names and by their first bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# So many bytes are enough to recognise each kind.
MARK_BYTES = 10


@dataclass(frozen=True)
class Compression:
    """One kind of compressed file.

    Args:
        ending: what such a file's name ends in.
        kind: what messages call such a file.
        mark: its first bytes, as a regular expression.
        unpack: the command that unpacks such a file and keeps it.
        test: the command that tests one.
    """

    ending: str
    kind: str
    mark: re.Pattern[bytes]
    unpack: str
    test: str

    def begins(self, start: bytes) -> bool:
        """Say whether a file of this kind begins with some bytes, of which it has given at least `MARK_BYTES`."""
        return self.mark.match(start) is not None


COMPRESSIONS = (
    Compression(".gz", "a gzip archive", re.compile(rb"\x1f\x8b"), "gunzip -k", "gzip -t"),
    # After the mark, the digits of pi where there is content, and those of its root where there is none.
    Compression(
        ".bz2",
        "a bzip2 archive",
        re.compile(rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)"),
        "bunzip2 -k",
        "bzip2 -t",
    ),
    Compression(".xz", "an xz archive", re.compile(rb"\xfd7zXZ\0"), "unxz -k", "xz -t"),
    # A frame, or one that is to be skipped, as programs with several threads write.
    Compression(
        ".zst", "a zstd archive", re.compile(rb"(\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18)"), "unzstd", "zstd -t"
    ),
)
_BY_ENDING = {compression.ending: compression for compression in COMPRESSIONS}


def compression_of(file: Path) -> Compression | None:
    """Return the compression that a file's name promises, or None.

    Example:
        >>> compression_of(Path("poems.txt.gz")).kind
        'a gzip archive'
    """
    return _BY_ENDING.get(file.suffix.lower())


def without_compression(name: str) -> str:
    """Return a name without the ending of a compressed file: `poems.txt` for `poems.txt.gz`."""
    plain, point, last = name.rpartition(".")
    return plain if f"{point}{last}".lower() in _BY_ENDING and plain and not plain.endswith("/") else name
