"""What a person should know about a text before a model learns it, as sentences that are shown in one place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from charlm.errors import printable
from charlm.text.items import ItemCount

C1_CONTROLS = [chr(code) for code in range(0x80, 0xA0)]
# Characters that are reported if a text has them.
ODD = (*C1_CONTROLS, "\N{REPLACEMENT CHARACTER}", "\N{BYTE ORDER MARK}")
NUM_NAMED = 3
MAX_NAME = 1_000


@dataclass(frozen=True)
class Notice:
    """A sentence about a text that was read.

    Args:
        sentence: what was done or found, and what to do about it.
        is_warning: whether it is probably not what was meant.
    """

    sentence: str
    is_warning: bool = False


@dataclass
class LineEnds:
    """Counts the CRLF and CR line ends of a text while it is read; a CRLF does not count as a CR."""

    crlf: int = 0
    cr: int = 0

    def counted(self, chunks: Iterable[str]) -> Iterator[str]:
        """Yield the chunks of a text and count as they pass."""
        last = ""
        for chunk in chunks:
            crlf = chunk.count("\r\n") + (last == "\r" and chunk[:1] == "\n")
            self.crlf += crlf
            self.cr += chunk.count("\r") - chunk.count("\r\n") - (last == "\r" and chunk[:1] == "\n")
            last = chunk[-1:] or last
            yield chunk
            # Let the chunk go before the next one is read.
            del chunk


def line_end_notices(line_ends: LineEnds, *, is_cut: bool) -> Iterator[Notice]:
    """Yield a notice on line ends that were read as LF.

    Args:
        line_ends: their counts.
        is_cut: whether only the beginning of the text is used, so that the counts are not those of the whole text.
    """
    found = [(line_ends.crlf, "CRLF"), (line_ends.cr, "CR")]
    parts = [f"{name if is_cut else f'{number:,} {name}'}" for number, name in found if number]
    if parts:
        ends = "line end was" if not is_cut and line_ends.crlf + line_ends.cr == 1 else "line ends were"
        yield Notice(f"{' and '.join(parts)} {ends} read as LF")


def joint_notices(number: int, num_files: int) -> Iterator[Notice]:
    """Yield a notice on how many files had a line end added before the next file."""
    if number:
        files = "1 file ends" if number == 1 else f"{number:,} of {num_files:,} files end"
        yield Notice(
            f"{files} without a line end, and one was put before the next file "
            "(--set corpus.between_files=nothing joins them as they are)"
        )


def character_notices(counts: Mapping[str, int], encoding: str) -> Iterator[Notice]:
    """Yield notices on characters that hardly belong in a text, and on what they usually mean.

    Args:
        counts: how often each character occurs.
        encoding: the encoding that the text was read in.
    """
    if lost := counts.get("\N{REPLACEMENT CHARACTER}", 0):
        yield Notice(
            f"the text has {times(lost, 'replacement character')} (U+FFFD): an earlier program could not read what "
            "was there; use the original text in its own encoding if there is one",
            is_warning=True,
        )
    if controls := sum(counts.get(control, 0) for control in C1_CONTROLS):
        yield Notice(
            f"the text has {times(controls, 'C1 control character')} (U+0080 to U+009F), which texts do not "
            f"contain: its encoding is probably not {encoding}"
            + (" (try --set corpus.encoding=cp1252)" if is_latin(encoding) else ", or it was once read in a wrong one"),
            is_warning=True,
        )
    if marks := counts.get("\N{BYTE ORDER MARK}", 0):
        yield Notice(
            f"the text has {times(marks, 'byte order mark')} (U+FEFF) inside, probably from files that were joined: "
            "the model learns it as a character; name the files one by one, and it is removed from each",
            is_warning=True,
        )


def item_notices(count: ItemCount, kind: str) -> Iterator[Notice]:
    """Yield a notice on items that were left out.

    Args:
        count: the items.
        kind: the value of corpus.items.
    """
    noun = {"lines": "line", "files": "file"}.get(kind, "document")
    left_out = [(count.duplicates, f"duplicate {noun}"), (count.empty, f"empty {noun}")]
    if parts := [times(number, name) for number, name in left_out if number]:
        were = "was" if count.duplicates + count.empty == 1 else "were"
        yield Notice(f"{' and '.join(parts)} {were} left out; {times(count.number, 'item')} to learn")


def is_latin(encoding: str) -> bool:
    """Say whether an encoding is Latin-1, which decodes any bytes."""
    return "".encode(encoding) == b"" and bytes(range(0x80, 0xA0)).decode(encoding, "ignore") == "".join(C1_CONTROLS)


def times(number: int, noun: str) -> str:
    """Return a count with its noun: `1 file`, `1,500 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shown_path(path: Path | str) -> str:
    """Return a path for a sentence, on one line and shortened if it is very long."""
    return printable(str(path), MAX_NAME)


def name_few(names: Sequence[str]) -> str:
    """Name all of a few names, or the first of many and how many more: `a.txt, b.txt, c.txt and 1,497 more`."""
    if len(names) <= NUM_NAMED + 1:
        return ", ".join(names)
    return f"{', '.join(names[:NUM_NAMED])} and {len(names) - NUM_NAMED:,} more"
