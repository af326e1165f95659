"""The patterns that choose the files of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from charlm.text.compressed import without_compression


@dataclass(frozen=True)
class Globs:
    """The patterns of `corpus.glob`, taken apart at their slashes.

    A pattern without a slash matches below the folder too. One with a slash begins at the folder, `**` in it means any
    folders, and one that ends in a slash means everything below.

    Args:
        patterns: the patterns as they were written; None reads the .txt files directly in the folder, hidden ones
            too and no compressed ones, as charlm did before there were patterns.
        parts: each pattern's parts.
    """

    patterns: tuple[str, ...] | None
    parts: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, patterns: Sequence[str] | None) -> Globs:
        """Take patterns apart."""
        if patterns is None:
            return cls(None, (("*.txt",),))
        return cls(tuple(patterns), tuple(map(_parts, patterns)))

    @property
    def depth(self) -> int | None:
        """How many names below the folder a path can have that matches; None without a limit."""
        return None if any("**" in parts for parts in self.parts) else max(map(len, self.parts))

    @property
    def described(self) -> str:
        """What is read, for a sentence: `.txt files`, `.txt, .md or .text files`, `files that match src/*`."""
        patterns = ("*.txt",) if self.patterns is None else self.patterns
        if not all(pattern.startswith("*.") and pattern[2:].isalnum() for pattern in patterns):
            return f"files that match {_either(patterns)}"
        return f"{_either([pattern[1:] for pattern in patterns])} files"

    def match(self, path: str) -> bool:
        """Say whether the file at a path below the folder is one of those to read; hidden ones never are.

        Example:
            >>> [Globs.of(["*.txt", "src/**/*.py"]).match(path) for path in ("a/b.txt", "b.txt.gz", "src/a.py", "a.py")]
            [True, True, True, False]
        """
        *folders, name = path.split("/")
        if self.patterns is None:
            return not folders and name.endswith(".txt") and name != ".txt"
        names = dict.fromkeys((name, without_compression(name)))
        # The last part first: it decides most files of a large folder.
        fitting = [(parts, each) for parts in self.parts for each in names if fnmatchcase(each, parts[-1])]
        return any(_match(parts, [*folders, each]) for parts, each in fitting)


def _parts(pattern: str) -> tuple[str, ...]:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if "/" not in pattern:
        parts.insert(0, "**")
    if pattern.endswith("/"):
        parts.append("**")
    if parts[-1:] in ([], ["**"]):
        parts.append("*")
    # Several ** in a row say no more than one.
    return tuple(part for place, part in enumerate(parts) if part != "**" or parts[place - 1 : place] != ["**"])


def _match(parts: Sequence[str], names: Sequence[str]) -> bool:
    if not parts or not names:
        return not parts and not names
    if parts[0] == "**":
        return any(_match(parts[1:], names[start:]) for start in range(len(names)))
    return fnmatchcase(names[0], parts[0]) and _match(parts[1:], names[1:])


def _either(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
