"""The corpora that charlm knows by name, two bundled and four public ones to download, and where they are stored."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from charlm.errors import TextError
from charlm.settings.nearest import did_you_mean, nearest_file, nearest_name
from charlm.settings.shipped import shipped_folder
from charlm.settings.values import SplitName

StandardSplit = SplitName | tuple[int, ...]


@dataclass(frozen=True)
class KnownCorpus:
    """A public corpus: where to get its file, how to recognise it, and the split that the literature uses.

    Args:
        name: the name for `corpus.name`.
        description: one line for people.
        url: address of the text file, or of a zip archive that contains it.
        sha256: SHA-256 of the raw text file.
        num_bytes: size of the raw text file.
        member: name of the text inside the archive, or None if the address is that of the text itself.
        encoding: encoding of the raw text file.
        split: the standard split, as `corpus.split` spells it.
        source: one line that says where the text comes from.
        aliases: other names under which people store the file or the archive.
    """

    name: str
    description: str
    url: str
    sha256: str
    num_bytes: int
    member: str | None
    encoding: Literal["utf-8", "latin-1"]
    split: StandardSplit
    source: str
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class CorpusEntry:
    """A corpus as a list shows it; `num_bytes` is the size of its raw text."""

    name: str
    description: str
    num_bytes: int
    split: StandardSplit
    is_here: bool
    source: str


SHIPPED_CORPORA = {"stories": "stories.txt", "lyrics": "lyrics.txt"}
SHIPPED_SPLIT: StandardSplit = "default"
SHIPPED_DESCRIPTIONS = {"stories": "English short stories", "lyrics": "Chinese song lyrics"}

_KNOWN = (
    KnownCorpus(
        name="timemachine",
        description="The Time Machine, 70 symbols",
        url="http://d2l-data.s3-accelerate.amazonaws.com/timemachine.txt",
        sha256="8424dbd9532ac81f7e5f0b6add90e6952baea29158309d7d1bf3884f4e12c516",
        num_bytes=178_979,
        member=None,
        encoding="utf-8",
        # Dive into Deep Learning trains on the whole text and reports the training perplexity.
        split="none",
        source="H. G. Wells 1895, as in Dive into Deep Learning",
        aliases=("time_machine.txt",),
    ),
    KnownCorpus(
        name="tinyshakespeare",
        description="pieces of Shakespeare's plays, 65 symbols",
        url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        num_bytes=1_115_394,
        member=None,
        encoding="utf-8",
        split="nanogpt",
        source="A. Karpathy, char-rnn",
        aliases=("input.txt", "tiny-shakespeare.txt", "tiny_shakespeare.txt"),
    ),
    KnownCorpus(
        name="text8",
        description="Wikipedia as a to z and space, 27 symbols",
        url="http://mattmahoney.net/dc/text8.zip",
        sha256="6e890197040d37d85beb962ae1f041ff1d9a9ca8d20c7d99c85027eebf51dca7",
        num_bytes=100_000_000,
        member="text8",
        encoding="utf-8",
        split=(90_000_000, 5_000_000, 5_000_000),
        source="M. Mahoney, Large Text Compression Benchmark",
        aliases=("text8", "text8.zip"),
    ),
    KnownCorpus(
        name="enwik8",
        description="Wikipedia's XML as bytes, 205 symbols",
        url="http://mattmahoney.net/dc/enwik8.zip",
        sha256="2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
        num_bytes=100_000_000,
        member="enwik8",
        # Latin-1 has one character for each byte: bits per character are then the bits per byte that everybody reports.
        encoding="latin-1",
        split=(90_000_000, 5_000_000, 5_000_000),
        source="M. Mahoney, Hutter Prize",
        aliases=("enwik8", "enwik8.zip"),
    ),
)
KNOWN_CORPORA = {corpus.name: corpus for corpus in _KNOWN}


def data_folder() -> Path:
    """Return the folder of downloaded files: CHARLM_DATA_DIR if it is set, else the user's cache."""
    if chosen := os.environ.get("CHARLM_DATA_DIR"):
        return Path(chosen).expanduser()
    return platformdirs.user_cache_path("charlm")


def corpus_names() -> list[str]:
    """Return the names of all corpora, the bundled ones first."""
    return [*SHIPPED_CORPORA, *KNOWN_CORPORA]


def downloaded_file(name: str) -> Path:
    """Return the path of a public corpus's text once it is downloaded."""
    return data_folder() / "corpora" / f"{name}.txt"


def known_corpus(name: str) -> KnownCorpus:
    """Return the public corpus of that name.

    Raises:
        TextError: if there is none; bundled corpora need no download.
    """
    if name in SHIPPED_CORPORA:
        raise TextError(f"the corpus {name} is bundled with charlm: there is nothing to download")
    if name not in KNOWN_CORPORA:
        raise _unknown(name, list(KNOWN_CORPORA))
    return KNOWN_CORPORA[name]


def corpus_file(name: str) -> Path:
    """Return the local text file of a bundled or downloaded corpus.

    Raises:
        TextError: if there is no corpus of that name, or it is not downloaded yet.
    """
    if name in SHIPPED_CORPORA:
        return Path(str(shipped_folder("data") / SHIPPED_CORPORA[name]))
    if name not in KNOWN_CORPORA:
        raise _unknown(name, corpus_names())
    path = downloaded_file(name)
    if not path.is_file():
        raise TextError(f"the corpus {name} is not on this machine yet; run: charlm corpus get {name}")
    return path


def standard_split(name: str) -> StandardSplit | None:
    """Return what `corpus.split: standard` means for a corpus, or None if there is no such corpus."""
    if name in SHIPPED_CORPORA:
        return SHIPPED_SPLIT
    return KNOWN_CORPORA[name].split if name in KNOWN_CORPORA else None


def corpus_entries() -> list[CorpusEntry]:
    """Describe all corpora, in the order of their names."""
    shipped = [
        CorpusEntry(
            name=name,
            description=SHIPPED_DESCRIPTIONS[name],
            num_bytes=corpus_file(name).stat().st_size,
            split=SHIPPED_SPLIT,
            is_here=True,
            source="bundled with charlm",
        )
        for name in SHIPPED_CORPORA
    ]
    public = [
        CorpusEntry(
            name=name,
            description=corpus.description,
            num_bytes=corpus.num_bytes,
            split=corpus.split,
            is_here=downloaded_file(name).is_file(),
            source=corpus.source,
        )
        for name, corpus in KNOWN_CORPORA.items()
    ]
    return shipped + public


def nearest_text(path: Path) -> str | None:
    """Return what a missing text was probably meant to be: a file next to it, a known corpus, or either of the two.

    Example:
        >>> nearest_text(Path("storeis"))
        'the corpus stories'
    """
    is_bare = path.parent in (Path(), Path.cwd())
    corpus = nearest_name(path.name, corpus_names()) if is_bare else None
    file = nearest_file(Path(path.name) if is_bare else path)
    return " or ".join(filter(None, (file, corpus and f"the corpus {corpus}"))) or None


def _unknown(name: str, names: list[str]) -> TextError:
    remedy = did_you_mean(nearest_name(name, names)) or f"; the known ones are {', '.join(names)}"
    return TextError(f"there is no corpus called {name!r}{remedy}")
