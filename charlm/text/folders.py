"""Find the texts in a folder, and say what is left out of it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from charlm.errors import TextError, printable, reason_of
from charlm.text.compressed import without_compression
from charlm.text.globs import Globs
from charlm.text.kinds import START_BYTES, is_like_text, other_kind
from charlm.text.notices import Notice, shown_path, times

# The kinds of entries that are not read, besides the endings of files, each with its plural.
PLURALS = {
    "folder": "folders",
    "link to a folder": "links to folders",
    "broken link": "broken links",
    "hidden file": "hidden files",
    "hidden folder": "hidden folders",
    "pipe": "pipes",
    "file without an ending": "files without an ending",
    "compressed copy": "compressed copies",
}
# How many kinds of files are named, the most frequent first.
MAX_KINDS = 6


@dataclass(frozen=True)
class Found:
    """The files of a corpus in order, and notices on what was left out."""

    files: tuple[Path, ...]
    notices: tuple[Notice, ...] = ()


@dataclass
class _Left:
    """What is not read of a folder: how many entries of each kind, and the first of them."""

    number: dict[str, int] = field(default_factory=dict[str, int])
    example: dict[str, Path] = field(default_factory=dict[str, Path])

    def add(self, kind: str, path: str | Path) -> None:
        self.number[kind] = self.number.get(kind, 0) + 1
        if kind not in self.example:
            self.example[kind] = Path(path)

    @property
    def kinds(self) -> list[str]:
        """The kinds, the most frequent first, folders last."""
        return sorted(self.number, key=lambda kind: (kind == "folder", -self.number[kind], kind))

    @property
    def listed(self) -> str:
        """All of it, for a sentence: `3 .md, 1 .py, 1 hidden folder`; empty if nothing is left."""
        kinds = self.kinds
        named = [_counted(self.number[kind], kind) for kind in kinds[:MAX_KINDS]]
        others = sum(self.number[kind] for kind in kinds[MAX_KINDS:])
        return ", ".join([*named, *([times(others, "other")] if others else [])])

    @property
    def like_text(self) -> list[str]:
        """The endings of files that look like texts, the most frequent first."""
        endings = [kind for kind in self.kinds[:MAX_KINDS] if kind.startswith(".")]
        return [kind for kind in endings if is_like_text(_start(self.example[kind]), str(self.example[kind]))]


def search_folder(folder: Path, patterns: Sequence[str] | None, *, is_corpus: bool = True) -> Found:
    """Find the texts in a folder and the folders below it, sorted by their paths.

    Hidden files and folders are not read. Links to files are followed and links to folders are not: they lead out of
    the folder, or to what is in it anyway. Of a file and a compressed copy of it, the copy is left out.

    Args:
        folder: the folder.
        patterns: which files are read, as in `corpus.glob`.
        is_corpus: whether it is the text to train on, for which an option chooses the files.
    Raises:
        TextError: if there is nothing to read, and for a folder that cannot be read.
    """
    globs, left = Globs.of(patterns), _Left()
    paths = sorted(_matching(folder, globs, left), key=lambda path: path.split("/"))
    files: list[Path] = []
    seen: set[str] = set()
    for path in paths:
        if (plain := without_compression(path)) in seen:
            left.add("compressed copy", folder / path)
        else:
            files.append(folder / path)
        seen.add(plain)
    if not files:
        raise TextError(f"the folder {shown_path(folder)} {_nothing_to_read(globs, left, is_corpus=is_corpus)}")
    return Found(tuple(files), (_notice(folder, files, globs, left, is_corpus=is_corpus),))


def _matching(folder: Path, globs: Globs, left: _Left) -> Iterator[str]:
    """Yield the path below the folder of each file that matches, and count what does not."""
    depth = globs.depth
    waiting = [""]
    while waiting:
        above = waiting.pop()
        for entry in _entries(folder / above):
            path = above + entry.name
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                if depth is None or path.count("/") + 1 < depth:
                    waiting.append(f"{path}/")
                else:
                    left.add("folder", entry.path)
            elif _is_readable(entry, globs) and globs.match(path):
                yield path
            else:
                left.add(_kind(entry), entry.path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise TextError(f"cannot read {shown_path(folder)}: {reason_of(error)}") from error


def _is_readable(entry: os.DirEntry[str], globs: Globs) -> bool:
    # Unlike those of Path and of the entry, os.path's are false for a link in a circle or to where nobody may look.
    is_file = os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()  # noqa: PTH113
    return is_file and (globs.patterns is None or not entry.name.startswith("."))


def _kind(entry: os.DirEntry[str]) -> str:
    """Return the kind of an entry that is not read: its ending, or a noun."""
    # What scandir has found out already; only links need another look at the disk.
    if entry.is_symlink():
        if os.path.isdir(entry.path):  # noqa: PTH112
            return "link to a folder"
        if not os.path.exists(entry.path):  # noqa: PTH110
            return "broken link"
        is_file = os.path.isfile(entry.path)  # noqa: PTH113
    elif entry.is_dir():
        return "hidden folder"
    else:
        is_file = entry.is_file()
    if not is_file:
        return "pipe"
    if entry.name.startswith("."):
        return "hidden file"
    return _ending(entry.name)


def _ending(name: str) -> str:
    """Return a name's ending for a sentence, with that before it if the file is compressed: `.txt.gz`."""
    plain = without_compression(name)
    # Not Path.suffix: a folder can have a hundred thousand files.
    ending = os.path.splitext(plain)[1] + name[len(plain) :]  # noqa: PTH122
    return printable(ending) if ending else "file without an ending"


def _counted(number: int, kind: str) -> str:
    return f"{number:,} {PLURALS.get(kind, kind) if number > 1 else kind}"


def _notice(folder: Path, files: Sequence[Path], globs: Globs, left: _Left, *, is_corpus: bool) -> Notice:
    read = _Left()
    for file in files:
        read.add(_ending(file.name), file)
    place = f"{shown_path(folder)}/"
    if len(read.number) == 1 and all(kind.startswith(".") for kind in read.number):
        sentence = f"read {len(files):,} {read.kinds[0]} {'file' if len(files) == 1 else 'files'} of {place}"
    else:
        sentence = f"read {times(len(files), 'file')} of {place} ({read.listed})"
    if left.number:
        sentence += f"; left out: {left.listed}"
    if globs.patterns is None or sum(left.number.values()) <= len(files):
        return Notice(sentence)
    kinds = left.like_text
    is_less = sum(left.number[kind] for kind in kinds) > len(files)
    return Notice(sentence + (f"; {_remedy(kinds[0])}" if is_less and is_corpus else ""), is_warning=is_less)


def _remedy(ending: str) -> str:
    return f"to read the {ending} files instead, add --glob {shlex.quote(f'*{ending}')}"


def _nothing_to_read(globs: Globs, left: _Left, *, is_corpus: bool) -> str:
    """Say what a folder without texts contains, and what to type."""
    if not left.number:
        return "is empty: name a text file"
    has = f"has no {globs.described}, it has {left.listed}"
    if kinds := left.like_text:
        if is_corpus and globs.patterns is not None:
            return f"{has}: {_remedy(kinds[0]).replace(' instead', '')}"
        return f"{has}: name the files themselves, such as {shlex.quote(shown_path(left.example[kinds[0]]))}"
    binary = next((kind for kind in left.kinds if kind.startswith(".")), None)
    if binary is None:
        return f"{has}: name the files themselves"
    example = left.example[binary]
    what = other_kind(_start(example), str(example)) or "is not a text"
    return f"{has}, and none of them is a text: {shown_path(example)} {what}"


def _start(file: Path) -> bytes:
    """Return the first bytes of a file; none if it cannot be read."""
    try:
        with file.open("rb") as stream:
            return stream.read(START_BYTES)
    except OSError:
        return b""
