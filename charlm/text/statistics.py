"""Describe what a text consists of and how well simple methods compress it, which a model has to beat."""

from __future__ import annotations

import bz2
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from charlm.errors import TextError
from charlm.text.notices import ODD

NUM_RAREST = 10
CODE_BITS = 21
CODE_MASK = (1 << CODE_BITS) - 1
# Takes the place of the character before the first one; it is above all code points of Unicode.
START = 0x110000
LF, CR = ord("\n"), ord("\r")


@dataclass(frozen=True)
class LineEndings:
    """How many lines end in each way; a CRLF counts neither as LF nor as CR."""

    lf: int
    crlf: int
    cr: int


@dataclass(frozen=True)
class TextStatistics:
    """Counts and entropies of a text; `num_bytes` is its size in UTF-8, and `odd` counts characters worth reporting.

    The entropies come from the counted frequencies without smoothing: unigram H(x_t), bigram H(x_t | x_{t-1}).
    """

    num_chars: int
    num_bytes: int
    num_symbols: int
    rarest: tuple[tuple[str, int], ...]
    line_endings: LineEndings
    unigram_bits_per_char: float
    bigram_bits_per_char: float
    bzip2_bits_per_char: float
    odd: Mapping[str, int]


def describe_text(chunks: Iterable[str]) -> TextStatistics:
    """Count a text given in chunks, cut anywhere; memory grows only with the number of distinct pairs.

    Raises:
        TextError: if the text is empty.
    """
    pairs: Counter[int] = Counter()
    compressor = bz2.BZ2Compressor(9)
    num_bytes = num_packed = 0
    previous = START
    for chunk in filter(None, chunks):
        codes = np.frombuffer(chunk.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        pairs.update(_pair_counts(previous, codes))
        previous = int(codes[-1])
        encoded = chunk.encode("utf-8", "surrogatepass")
        num_bytes += len(encoded)
        num_packed += len(compressor.compress(encoded))
    if not pairs:
        raise TextError("the text is empty: there is nothing to count")
    num_packed += len(compressor.flush())
    return _statistics(pairs, num_bytes, num_packed)


def _pair_counts(previous: int, codes: np.ndarray) -> dict[int, int]:
    """Count the pairs (previous character, character), each packed into one integer."""
    before = np.concatenate(([previous], codes[:-1])).astype(np.uint64)
    packed, counts = np.unique((before << np.uint64(CODE_BITS)) | codes, return_counts=True)
    return dict(zip(packed.tolist(), counts.tolist(), strict=True))


def _statistics(pairs: Counter[int], num_bytes: int, num_packed: int) -> TextStatistics:
    symbols: Counter[int] = Counter()
    contexts: Counter[int] = Counter()
    for pair, count in pairs.items():
        symbols[pair & CODE_MASK] += count
        contexts[pair >> CODE_BITS] += count
    num_chars = symbols.total()
    rarest = sorted(symbols.items(), key=lambda item: (item[1], item[0]))[:NUM_RAREST]
    crlf = pairs[CR << CODE_BITS | LF]
    return TextStatistics(
        num_chars=num_chars,
        num_bytes=num_bytes,
        num_symbols=len(symbols),
        rarest=tuple((chr(code), count) for code, count in rarest),
        line_endings=LineEndings(lf=symbols[LF] - crlf, crlf=crlf, cr=symbols[CR] - crlf),
        unigram_bits_per_char=_entropy(symbols.values(), num_chars),
        bigram_bits_per_char=_conditional_entropy(pairs, contexts),
        bzip2_bits_per_char=8 * num_packed / num_chars,
        odd={character: symbols[ord(character)] for character in ODD if ord(character) in symbols},
    )


def _entropy(counts: Iterable[int], total: int) -> float:
    return math.fsum(count / total * math.log2(total / count) for count in counts)


def _conditional_entropy(pairs: Counter[int], contexts: Counter[int]) -> float:
    """Return H(x_t | x_{t-1}) in bits; the first character does not count, because it follows none."""
    num_pairs = contexts.total() - contexts[START]
    bits = math.fsum(
        count * math.log2(contexts[pair >> CODE_BITS] / count)
        for pair, count in pairs.items()
        if pair >> CODE_BITS != START
    )
    return bits / num_pairs if num_pairs else 0.0
