"""What a file is that is not a text, by its first bytes, and how to make a text of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from charlm.text.compressed import COMPRESSIONS, Compression

# How many bytes of a file are enough to recognise it.
START_BYTES = 1 << 13
# The place of the mark of a tar archive, after the name of its first file.
TAR_MARK, TAR_PLACE = b"ustar", 257
ZIP_MARK = b"PK\3\4"

# The first bytes of files that are not texts, what such a file is, and the command that makes a text of it.
KINDS = (
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x {file}"),
    (b"Rar!\x1a\x07", "a RAR archive", "unrar x {file}"),
    (b"\x04\x22\x4d\x18", "an lz4 archive", "unlz4 {file}"),
    (b"LZIP\x01", "an lzip archive", "lzip -dk {file}"),
    (b"\x1f\x9d", "a compress archive", "uncompress {file}"),
    (b"%PDF-", "a PDF", "pdftotext {file}"),
    (b"AT&TFORM", "a DjVu document", "djvutxt {file} {file}.txt"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of an older Office", "soffice --convert-to txt {file}"),
    (b"{\\rtf", "a document in RTF", "soffice --convert-to txt {file}"),
    (b"\x89PNG\r\n", "a picture", None),
    (b"\xff\xd8\xff", "a picture", None),
    (b"GIF8", "a picture", None),
    (b"\x7fELF", "a program", None),
    (b"SQLite format 3\0", "a SQLite database", None),
    (b"PAR1", "a table in Parquet", None),
)
# The bytes near the start of a zip archive that show it to be a document.
ZIPPED = (
    (b"application/epub+zip", "a book in EPUB", "pandoc {file} -t plain -o {file}.txt"),
    (b"application/vnd.oasis.opendocument", "a document in ODF", "soffice --convert-to txt {file}"),
    (b"word/", "a Word document", "pandoc {file} -t plain -o {file}.txt"),
    (b"[Content_Types].xml", "an Office document", "soffice --convert-to txt {file}"),
)


def other_kind(start: bytes, name: str, *, within: Compression | None = None) -> str | None:
    """Say what a file is if its first bytes show that it is not a text, and how to make one of it; else return None.

    Args:
        start: its first bytes, or those of its content if it is compressed.
        name: the file's name.
        within: how it is compressed; None if it is not.

    Example:
        >>> other_kind(b"%PDF-1.7", "names.pdf")
        'is a PDF: convert it first, with pdftotext names.pdf'
    """
    file = shlex.quote(name)
    if start[TAR_PLACE : TAR_PLACE + len(TAR_MARK)] == TAR_MARK:
        return f"is a tar archive: unpack it first, with tar xf {file}, and name the folder that comes out of it"
    compression = next((each for each in COMPRESSIONS if each.begins(start)), None)
    if compression is not None and within is None:
        named = f"{file}{compression.ending}"
        return f"is {compression.kind}, and is read if its name ends in {compression.ending}: mv {file} {named}"
    for kind, command in [(compression.kind, None)] if compression else _kinds(start):
        if within is not None:
            return f"contains {kind}, not a text: unpack it first, with {within.unpack} {file}"
        if command is None:
            return f"is {kind}, not a text"
        verb = "unpack it" if kind.endswith("archive") else "convert it"
        return f"is {kind}: {verb} first, with {command.format(file=file)}"
    return None


def is_like_text(start: bytes, name: str) -> bool:
    """Say whether a file may be a text by its first bytes, in an encoding that has no zero bytes."""
    return b"\0" not in start and other_kind(start, name) is None


def _kinds(start: bytes) -> Iterator[tuple[str, str | None]]:
    """Yield what a file may be by its first bytes, the likeliest first, each with the command that makes a text."""
    if start.startswith(ZIP_MARK):
        yield from ((kind, command) for mark, kind, command in ZIPPED if mark in start)
        yield "a zip archive", "unzip {file}"
    yield from ((kind, command) for mark, kind, command in KINDS if start.startswith(mark))
