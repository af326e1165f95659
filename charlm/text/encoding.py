"""From characters to ids and hashes, chunk by chunk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np

from charlm.settings.corpus import UnknownPolicy
from charlm.text.vocabulary import NUM_CODE_POINTS, Ids, Vocabulary, code_points, latin_bytes


def count_characters(chunks: Iterable[str]) -> dict[str, int]:
    """Count each distinct character of a text."""
    totals = np.zeros(NUM_CODE_POINTS, dtype=np.int64)
    for chunk in chunks:
        raw = latin_bytes(chunk)
        codes = code_points(chunk) if raw is None else np.frombuffer(raw, dtype=np.uint8)
        counts = np.bincount(codes)
        totals[: len(counts)] += counts
    return {chr(code): int(totals[code]) for code in np.flatnonzero(totals)}


def encode_text(
    chunks: Iterable[str], vocabulary: Vocabulary, *, unknown: UnknownPolicy, what: str = "the text"
) -> Ids:
    """Encode a text given in chunks, in memory; see `Vocabulary.encode`."""
    return np.concatenate(
        [np.empty(0, vocabulary.dtype), *encoded_chunks(chunks, vocabulary, unknown=unknown, what=what)]
    )


def encoded_chunks(
    chunks: Iterable[str], vocabulary: Vocabulary, *, unknown: UnknownPolicy, what: str
) -> Iterator[Ids]:
    """Encode a text chunk by chunk; positions in messages count from the text's start."""
    offset = 0
    for chunk in chunks:
        yield vocabulary.encode(chunk, unknown=unknown, what=what, offset=offset)
        offset += len(chunk)


def hash_ids(ids: Ids, vocabulary: Vocabulary) -> str:
    """Return the SHA-256 of the UTF-8 text that some ids stand for, the unknown symbol as U+FFFD."""
    digest = hashlib.sha256()
    step = 1 << 20
    for start in range(0, len(ids), step):
        digest.update(vocabulary.decode(ids[start : start + step]).encode("utf-8"))
    return digest.hexdigest()
