"""Decode bytes to characters, by one rule for corpora, for texts that are scored, and for prefixes.

Files whose names end in .gz, .bz2, .xz or .zst are unpacked while they are read. Bytes are decoded strictly, a byte
order mark at the start of a file is removed, and an error names the file, byte and line of whatever does not decode.
Line ends stay as they are: `charlm.text.cleaning` treats them as the settings say.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from charlm.errors import TextError
from charlm.text.compressed import compression_of
from charlm.text.encodings import Finding, is_cut_utf8, is_damaged_utf8, likely_encodings
from charlm.text.files import blocks_of, file_blocks
from charlm.text.items import refuse_boundary
from charlm.text.kinds import START_BYTES, other_kind
from charlm.text.notices import shown_path
from charlm.text.unpacking import unpacked_blocks

MAX_PREFIX_BYTES = 10_000_000
# How many bytes of the text before an undecodable byte are looked at.
LINE_BYTES = 1 << 12
BYTE_ORDER_MARK = "\N{BYTE ORDER MARK}"


@dataclass
class Joints:
    """Counts, while files are read, how many had a line end added after them."""

    number: int = 0


@dataclass(frozen=True)
class Decoding:
    """How bytes become characters.

    Args:
        encoding: the encoding, which is decoded strictly.
        is_chosen: whether the text is a corpus, whose encoding a setting chooses; other texts have the model's.
        joints: a counter, if a file that lacks its last line end gets one before the next file begins; else None.
        file_end: a text that is put after each file.
        reopen: a function that reads a file's bytes as they are stored again, to find out what is wrong with them.
    """

    encoding: str = "utf-8"
    is_chosen: bool = True
    joints: Joints | None = None
    file_end: str = ""
    reopen: Callable[[Path], Iterator[bytes]] = lambda file: blocks_of(file)

    def again(self, file: Path) -> Iterator[bytes]:
        """Read a file's bytes again, unpacked."""
        return (block for _, block in unpacked_blocks((file, block) for block in self.reopen(file)))


def read_files(files: Iterable[Path], decoding: Decoding = Decoding()) -> Iterator[str]:
    """Stream the characters of some files, line ends as they are.

    Args:
        files: the files, in order.
        decoding: how to decode them.
    Raises:
        TextError: for a file that cannot be read or is not a text, and for a byte that does not decode.
    """
    return decode_blocks(file_blocks(files), decoding)


def decode_blocks(blocks: Iterable[tuple[Path, bytes]], decoding: Decoding) -> Iterator[str]:
    """Stream the characters of blocks such as those from `file_blocks`; see `read_files`."""
    decoder = _decoder(decoding.encoding)
    offset, is_start, last = 0, True, ""
    for file, block in unpacked_blocks(blocks):
        if offset == 0 and (kind := other_kind(block[:START_BYTES], str(file), within=compression_of(file))):
            raise TextError(f"{shown_path(file)} {kind}")
        held = len(decoder.getstate()[0])
        text = _decode(decoder, block, file=file, decoding=decoding, offset=offset - held)
        if decoding.file_end:
            refuse_boundary(text)
        if text and is_start:
            text, is_start = text.removeprefix(BYTE_ORDER_MARK), False
            if text and last and last not in "\n\r" and decoding.joints is not None:
                text = "\n" + text
                decoding.joints.number += 1
        last = text[-1:] or last
        yield text if block else text + decoding.file_end
        offset += len(block)
        if not block:
            decoder.reset()
            offset, is_start = 0, True


def decode_prefix(content: bytes, name: str, encoding: str = "utf-8") -> str:
    """Return the text of a prefix file's bytes, without the one line end that editors and `echo` add at the end.

    Args:
        content: all bytes of the file.
        name: the file's name, or `standard input`, for messages.
        encoding: the encoding of the model's corpus.
    Raises:
        TextError: naming the byte and line of whatever does not decode, and for an archive of more than a prefix.
    """
    decoding = Decoding(encoding, is_chosen=False, reopen=lambda _: iter([content]))
    pieces: list[str] = []
    for text in decode_blocks([(Path(name), content), (Path(name), b"")], decoding):
        pieces.append(text)
        if sum(map(len, pieces)) > MAX_PREFIX_BYTES:
            raise TextError(f"{shown_path(name)} contains more than {MAX_PREFIX_BYTES:,} characters")
    return without_last_line_end("".join(pieces))


def without_last_line_end(text: str) -> str:
    """Return a text without one line end (LF, CRLF or CR) at its end; nothing else is removed."""
    if text.endswith("\r\n"):
        return text[:-2]
    return text[:-1] if text.endswith(("\n", "\r")) else text


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    try:
        # Unlike codecs.lookup this refuses codecs that do not decode bytes to text, such as base64.
        "".encode(encoding)
    except (LookupError, ValueError) as error:
        raise TextError(f"corpus.encoding {encoding!r} is not a text encoding Python knows") from error
    return codecs.getincrementaldecoder(encoding)()


def _decode(decoder: codecs.IncrementalDecoder, block: bytes, *, file: Path, decoding: Decoding, offset: int) -> str:
    encoding = decoding.encoding
    try:
        text = decoder.decode(block, final=not block)
    except UnicodeDecodeError as error:
        raise TextError(_bad_byte(file, decoding, offset + error.start)) from error
    except UnicodeError as error:
        # Some codecs do not name the byte, such as UTF-16 without a byte order mark.
        hint = _suggestion(file, decoding, 0)
        raise TextError(f"{shown_path(file)} is not {encoding}: {error}{hint}") from error
    if "\0" in text:
        hint = _suggestion(file, decoding, 0) or f" than {encoding}"
        raise TextError(f"{shown_path(file)} contains zero bytes: it is a binary file or has another encoding{hint}")
    return text


def _bad_byte(file: Path, decoding: Decoding, position: int) -> str:
    line, seen, value = 1, 0, b""
    for block in decoding.again(file):
        if seen + len(block) > position:
            line += block[: position - seen].count(b"\n")
            value = block[position - seen : position - seen + 1]
            break
        line += block.count(b"\n")
        seen += len(block)
    return (
        f"{shown_path(file)} is not {decoding.encoding}: byte 0x{value.hex()} at offset {position:,}, line {line:,}"
        f"{_suggestion(file, decoding, position)}"
    )


def _suggestion(file: Path, decoding: Decoding, position: int) -> str:
    """Say which encoding a file probably has, how the line at a position reads in it, and what to type."""
    start, before, after = _about(file, decoding, position)
    line_start = before.rfind(b"\n") + 1
    line, place = before[line_start:] + after, len(before) - line_start
    if codecs.lookup(decoding.encoding).name == "utf-8":
        if is_cut_utf8(after):
            return "; the file ends in the middle of a character: it was cut off"
        if is_damaged_utf8(before + after):
            return "; the rest is valid utf-8: the file is damaged there, or was joined from texts in two encodings"
    found = likely_encodings(start, line, place, besides=decoding.encoding)
    found = [finding for finding in found if _decodes(file, finding.encoding, decoding)]
    if not found:
        return ""
    shown = " or ".join(f"{finding.encoding}, which reads as 「{finding.line}」" for finding in found)
    return f"; it is likely {shown} ({_remedy(decoding, found[0])})"


def _remedy(decoding: Decoding, finding: Finding) -> str:
    if decoding.is_chosen:
        return f"--set corpus.encoding={finding.encoding}"
    return (
        f"the model reads {decoding.encoding}: convert the file with iconv -f {finding.encoding} -t {decoding.encoding}"
    )


def _about(file: Path, decoding: Decoding, position: int) -> tuple[bytes, bytes, bytes]:
    """Return a file's first bytes, the bytes before a position, and the bytes from it on."""
    start, before, after, seen = b"", b"", b"", 0
    for block in decoding.again(file):
        start = (start + block)[:START_BYTES]
        split = max(0, position - seen)
        before = (before + block[:split])[-LINE_BYTES:]
        after = (after + block[split:])[:START_BYTES]
        seen += len(block)
        if len(after) == START_BYTES and len(start) == START_BYTES:
            break
    return start, before, after


def _decodes(file: Path, encoding: str, decoding: Decoding) -> bool:
    """Say whether the whole file can be decoded."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for block in decoding.again(file):
            if "\0" in decoder.decode(block):
                return False
        decoder.decode(b"", True)
    except UnicodeError:
        return False
    return True
