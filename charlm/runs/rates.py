"""Results on a text as records: a model's rates, and what is needed to judge them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from charlm.runs.json_records import Count, Flag, Inline, Line, Number, Record


@dataclass(frozen=True, eq=False, kw_only=True)
class BothWays(Record):
    """The other results of a bidirectional model: those of its backward half, and of both halves together."""

    backward_bpc: Number
    backward_perplexity: Number
    cloze_bpc: Number
    cloze_pseudo_perplexity: Number


@dataclass(frozen=True, eq=False, kw_only=True)
class PerItem(Record):
    """The result on a list of items: how many there are, and the nats of one, its end included."""

    num_items: Count
    nats_per_item: Number


@dataclass(frozen=True, eq=False, kw_only=True)
class Standing(Record):
    """What is needed to judge the results on a whole text.

    Args:
        bits_per_byte: bits for each byte that the predicted characters take in the corpus's encoding.
        bpc_interval: the range of bits per character that 95 % of resampled texts have; None for a short text.
        sha256: SHA-256 of the text.
        baselines: bits per character of simpler models; None if they were not asked for.
        beats_5gram: whether the model is better than the 5-gram, which was the best baseline of an older charlm.
    """

    bits_per_byte: Number
    bpc_interval: tuple[Number, Number] | None
    sha256: Line | None = None
    baselines: Mapping[Line, Number] | None
    beats_5gram: Flag | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Rates(Record):
    """The results on a text, or on a stretch of training.

    Args:
        nats_per_char: mean negative log-likelihood of a character; None from an older charlm, which wrote only bits.
        bpc: the same in bits; for a bidirectional model this and the others are the results of its forward half.
        perplexity: perplexity per character.
        chars: number of predicted characters.
        both_ways: the other results of a bidirectional model.
        standing: what is needed to judge the results on a whole text.
        per_item: the result on a whole list of items; None for a running text.
    """

    nats_per_char: Number | None = None
    bpc: Number
    perplexity: Number
    chars: Count
    both_ways: Annotated[BothWays | None, Inline()] = None
    standing: Annotated[Standing | None, Inline()] = None
    per_item: Annotated[PerItem | None, Inline()] = None

    @property
    def nats(self) -> float:
        """Mean negative log-likelihood of a character, whether it was recorded in nats or in bits."""
        return self.bpc * math.log(2) if self.nats_per_char is None else self.nats_per_char
