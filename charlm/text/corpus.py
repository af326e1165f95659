"""Read, count, encode and cache a corpus, streaming it in constant memory."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from charlm.errors import TextError
from charlm.settings.corpus import CorpusSettings, VocabularySettings
from charlm.text.cache import DIGEST_BYTES, cache_path, is_intact, write_cache
from charlm.text.cleaning import clean_text
from charlm.text.compressed import compression_of
from charlm.text.decoding import Decoding, Joints, decode_blocks, read_files
from charlm.text.encoding import count_characters, encoded_chunks
from charlm.text.files import file_blocks, file_size, find_corpus, hash_files
from charlm.text.inheriting import KnownSymbols
from charlm.text.items import NONCHARACTER, ItemCount, arranged_text, boundary_character
from charlm.text.known import KNOWN_CORPORA
from charlm.text.lists import list_notices
from charlm.text.notices import (
    LineEnds,
    Notice,
    character_notices,
    item_notices,
    joint_notices,
    line_end_notices,
    name_few,
    shown_path,
)
from charlm.text.vocabulary import (
    Ids,
    Vocabulary,
    build_vocabulary,
)

# Below this size encoding again is quicker than using the cache; above it ids stay on disk and are memory-mapped.
CACHED_BYTES = 8 << 20
CACHE_VERSION = 4
# The first and the last surrogate: they are not characters, and UTF-8 cannot encode them.
SURROGATES = ("\ud800", "\udfff")


@dataclass(frozen=True)
class Corpus:
    """An encoded corpus.

    Args:
        ids: one id for each character, (num_chars,), read-only; memory-mapped when large.
        vocabulary: the symbols.
        files: the files of the text.
        sha256: SHA-256 of the files' bytes as they are stored, compressed or not.
        notices: what a person should know about how the text was read and what is in it.
    """

    ids: Ids
    vocabulary: Vocabulary
    files: tuple[Path, ...]
    sha256: str
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class _Source:
    """A corpus before it is encoded: its files, and the SHA-256 and number of their bytes."""

    settings: CorpusSettings
    files: tuple[Path, ...]
    sha256: str
    num_bytes: int

    @property
    def name(self) -> str:
        return self.settings.name or name_few([shown_path(file) for file in self.files])

    @property
    def is_large(self) -> bool:
        """Whether the ids are kept on disk; of a compressed file nobody knows how large its text is."""
        return self.num_bytes >= CACHED_BYTES or any(map(compression_of, self.files))

    @property
    def cache_key(self) -> list[object]:
        settings = self.settings
        key: list[object] = [
            CACHE_VERSION,
            self.sha256,
            settings.encoding,
            settings.clean.model_dump(),
            settings.max_chars,
        ]
        if (forms := [each and each.ending for each in map(compression_of, self.files)]) != [None] * len(forms):
            key.append(forms)
        if settings.items is not None:
            key += [settings.items, settings.separator]
        if len(self.files) == 1:
            return key
        # A line end may be put between files, and each may start with a byte order mark: it matters where they end.
        return [*key, settings.between_files, [file_size(file) for file in self.files]]


@dataclass(frozen=True)
class _Tally:
    """What is counted while a corpus is read: its line ends, the joints between files, and its items."""

    line_ends: LineEnds = field(default_factory=LineEnds)
    joints: Joints = field(default_factory=Joints)
    items: ItemCount = field(default_factory=ItemCount)


@dataclass(frozen=True)
class _Counted:
    """What the first reading counts: the characters after cleaning, and everything else."""

    counts: dict[str, int]
    tally: _Tally


def load_corpus(corpus: CorpusSettings, vocabulary: VocabularySettings, *, known: KnownSymbols | None = None) -> Corpus:
    """Read, clean, count and encode a corpus.

    Args:
        corpus: where it is, and how it is read.
        vocabulary: which of its characters become symbols.
        known: the symbols of a model that is to read it; None chooses them by the corpus alone.
    Raises:
        TextError: for a corpus that is missing, not decodable, empty, of one symbol only, or changing meanwhile.
    """
    found = find_corpus(corpus)
    files = found.files
    source = _Source(corpus, files, *hash_files(files))
    counted = _cached_counts(source) if source.is_large else _count(source)
    counts = counted.counts
    if not counts:
        raise TextError(f"the corpus {source.name} {_nothing(source)}")
    if any(SURROGATES[0] <= character <= SURROGATES[1] for character in counts):
        raise TextError(f"the corpus {source.name} is not {corpus.encoding}: it contains halves of surrogate pairs")
    # However few the items are, the boundary between them is no rare character.
    boundary = boundary_character(corpus)
    kept = counts if boundary is None else {**counts, boundary: sum(counts.values())}
    if known is None:
        symbols = build_vocabulary(kept, min_count=vocabulary.min_count, max_size=vocabulary.max_size)
    else:
        symbols = known.choose(kept, vocabulary, f"the corpus {source.name}")
    if boundary is not None and boundary not in symbols.characters:
        raise TextError("the model has no symbol for the ends of items: --new-characters extend adds it")
    if len(symbols) < 2:
        raise TextError(f"the corpus {source.name} has only one symbol: there is nothing to predict")
    ids = _cached_ids(source, symbols) if source.is_large else np.concatenate(list(_encode_source(source, symbols)))
    ids.setflags(write=False)
    # Without an unknown symbol, the characters that a known vocabulary lacks are left out.
    read = counts.values() if symbols.has_unknown else [counts.get(each, 0) for each in symbols.characters]
    assert len(ids) == sum(read)
    notices = (
        *found.notices,
        *_notices(source, counted, ids, symbols),
        *(known.notices(counts, symbols) if known else ()),
    )
    return Corpus(ids, symbols, files, source.sha256, notices)


def _nothing(source: _Source) -> str:
    if source.num_bytes and source.settings.items is not None:
        return "has no items: all of them are empty"
    return "is empty after cleaning" if source.num_bytes else "is empty"


def _notices(source: _Source, counted: _Counted, ids: Ids, symbols: Vocabulary) -> Iterator[Notice]:
    settings, num_chars = source.settings, sum(counted.counts.values())
    if settings.clean.newline == "lf" and not settings.clean.letters:
        yield from line_end_notices(counted.tally.line_ends, is_cut=num_chars == settings.max_chars)
    if not settings.clean.letters and settings.items is None:
        yield from joint_notices(counted.tally.joints.number, len(source.files))
    if settings.items is not None:
        yield from item_notices(counted.tally.items, settings.items)
    elif settings.name is None:
        yield from list_notices(ids, symbols)
    # The characters of public corpora are known, and published results depend on them.
    if settings.name not in KNOWN_CORPORA:
        yield from character_notices(counted.counts, settings.encoding)


def read_cleaned(files: Iterable[Path], corpus: CorpusSettings) -> Iterator[str]:
    """Stream the cleaned characters of files that a model is given, at most max_chars of them."""
    return _cleaned(read_files(files, Decoding(corpus.encoding, is_chosen=False)), corpus)


def _cleaned(chunks: Iterator[str], corpus: CorpusSettings) -> Iterator[str]:
    chunks = clean_text(chunks, corpus.clean)
    return chunks if corpus.max_chars is None else _first(chunks, corpus.max_chars)


def _read_unchanged(source: _Source, tally: _Tally) -> Iterator[str]:
    """Stream the cleaned characters of a corpus, and check at the end that its bytes are those that were hashed.

    Args:
        source: the corpus.
        tally: counts what is counted as the corpus is read.
    """
    digest, problem = hashlib.sha256(), None
    blocks = _seen_by(digest.update, source)
    try:
        chunks = tally.line_ends.counted(decode_blocks(blocks, _decoding(source.settings, tally.joints)))
        if source.settings.items is None:
            yield from _cleaned(chunks, source.settings)
        else:
            yield arranged_text(chunks, source.settings, tally.items)
    except TextError as error:
        problem = error
    # The bytes after max_chars or after a bad byte were hashed too.
    deque(blocks, maxlen=0)
    if digest.hexdigest() != source.sha256:
        raise TextError(
            f"the corpus {source.name} changed while it was read: start again when nothing is writing to it"
        ) from problem
    if problem:
        raise problem


def _decoding(corpus: CorpusSettings, joints: Joints) -> Decoding:
    if corpus.items == "files":
        return Decoding(corpus.encoding, file_end=NONCHARACTER)
    return Decoding(corpus.encoding, joints=joints if corpus.between_files == "newline" else None)


def _seen_by(update: Callable[[bytes], None], source: _Source) -> Iterator[tuple[Path, bytes]]:
    """Yield the blocks of a corpus and pass each to `update`; stop at the first block beyond the hashed size."""
    num_bytes = 0
    for file, block in file_blocks(source.files):
        update(block)
        num_bytes += len(block)
        if num_bytes > source.num_bytes:
            return
        yield file, block


def _first(chunks: Iterator[str], num_chars: int) -> Iterator[str]:
    for chunk in chunks:
        yield chunk[:num_chars]
        num_chars -= len(chunk)
        if num_chars <= 0:
            return


def _encode_source(source: _Source, vocabulary: Vocabulary) -> Iterator[Ids]:
    # A character that was not counted means that the text has changed: the reading reports that at its end.
    unknown = "replace" if vocabulary.has_unknown else "skip"
    chunks = _read_unchanged(source, _Tally())
    return encoded_chunks(chunks, vocabulary, unknown=unknown, what="the corpus")


def _count(source: _Source) -> _Counted:
    tally = _Tally()
    return _Counted(count_characters(_read_unchanged(source, tally)), tally)


def _cached_counts(source: _Source) -> _Counted:
    path = cache_path(source.cache_key, ".counts")
    if not is_intact(path):
        counted = _count(source)
        found = counted.tally
        tally = [list[int](vars(each).values()) for each in (found.line_ends, found.joints, found.items)]
        write_cache(path, [json.dumps([counted.counts, *tally]).encode("ascii")])
    counts, line_ends, joints, items = json.loads(path.read_bytes()[:-DIGEST_BYTES])
    return _Counted(counts, _Tally(LineEnds(*line_ends), Joints(*joints), ItemCount(*items)))


def _cached_ids(source: _Source, vocabulary: Vocabulary) -> Ids:
    path = cache_path([*source.cache_key, vocabulary.characters, vocabulary.has_unknown], ".ids")
    if not is_intact(path):
        write_cache(path, (ids.tobytes() for ids in _encode_source(source, vocabulary)))
    num_ids = (path.stat().st_size - DIGEST_BYTES) // np.dtype(vocabulary.dtype).itemsize
    return np.memmap(path, dtype=vocabulary.dtype, mode="r", shape=(num_ids,))
