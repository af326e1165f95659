"""Texts in progress: a model reads, writes a piece, and goes on from there.

Everything that continues a prefix comes through here. With the kernels, one call writes many characters; without them,
characters are drawn one by one. Both take the same random numbers, and pieces of any size join to the same text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.errors import TextError
from charlm.generation.draws import draw_ids, uniform_draws, uniform_numbers
from charlm.generation.filters import PLAIN, Filters
from charlm.generation.native_writer import CHARS_AT_ONCE, Pace, write
from charlm.networks.native_predictor import NativePredictor
from charlm.networks.predictor import Floats, IdArray, Predictor
from charlm.text.vocabulary import Ids, Vocabulary

# Where texts side by side affect each other's bits, this many are always computed at once, because a product of another
# shape may differ in its last bit.
BLOCK_ROWS = 8
PREFIX_CHARS_AT_ONCE = 2048
FIRST = range(1)
Drawn = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Progress:
    """How far texts side by side have come; it never changes, so that each can be continued at any time.

    Args:
        samples: the texts' numbers, which choose their random numbers.
        num_drawn: how many characters of each were drawn; all others were given.
        last: the ids that were added last, (T, rows).
        before: the state before those.
        state: the state after them; None where it has not been needed yet.
        logits: those after them, (rows, V); None where they have not been needed yet.
    """

    samples: range
    num_drawn: int
    last: IdArray
    before: Any
    state: Any = None
    logits: Floats | None = None


class Session:
    """Begin texts with a model, and continue them.

    Args:
        predictor: the model.
        vocabulary: its symbols; the unknown symbol is never drawn.

    Example:
        >>> session = Session(model.writer(), model.checkpoint.vocabulary)
        >>> _, ids = model.encode("the ", "prefix")
        >>> for piece, progress in session.write(session.begin(ids), length=600, at_once=256):
        ...     print(piece.shape, progress.num_drawn)
        (256, 1) 256
        (256, 1) 512
        (88, 1) 600
    """

    def __init__(self, predictor: Predictor, vocabulary: Vocabulary) -> None:
        self.predictor, self.vocabulary = predictor, vocabulary

    def begin(self, prefix: Ids, samples: range = FIRST) -> Progress:
        """Return texts that have read the same prefix.

        Args:
            prefix: at least one id.
            samples: the texts' numbers; all of them from one block of BLOCK_ROWS, unless the model is batch-invariant.
        Raises:
            TextError: if the prefix is empty.
        """
        if len(prefix) == 0:
            raise TextError("the prefix is empty: the model needs at least one character that it knows")
        rows = len(samples)
        if not self.predictor.is_batch_invariant:
            return self._read(prefix, self.predictor.initial_state(BLOCK_ROWS), samples, 0)
        # One row is read for all.
        read = self._read(prefix, self.predictor.initial_state(1), FIRST, 0)
        before, state = (_repeated(each, rows) for each in (read.before, read.state))
        return Progress(samples, 0, np.repeat(read.last, rows, axis=1), before, state)

    def read(self, progress: Progress, ids: Ids) -> Progress:
        """Return the texts after each has read the same ids, (T,), at least one."""
        return self._read(ids, self._state(progress), progress.samples, progress.num_drawn)

    def logits(self, progress: Progress) -> Floats:
        """Return the logits of the next character of each text, (samples, V)."""
        _, logits = self._settled(progress)
        return logits[self._rows(progress.samples)]

    def write(
        self,
        progress: Progress,
        *,
        length: int,
        seed: int = 0,
        filters: Filters = PLAIN,
        at_once: int | None = None,
    ) -> Iterator[tuple[Drawn, Progress]]:
        """Yield pieces of what is written, (characters, samples), each with the texts as they are after it.

        Args:
            progress: the texts.
            length: how many characters to write.
            seed: the random seed for sampling.
            filters: applied to each distribution before drawing from it.
            at_once: the most characters of a piece, None for CHARS_AT_ONCE; it changes no character.
        """
        if isinstance(self.predictor, NativePredictor):
            return self._write_natively(self.predictor, progress, length, seed, filters, at_once or CHARS_AT_ONCE)
        return self._write_singly(progress, length, seed, filters)

    def _write_natively(
        self, predictor: NativePredictor, progress: Progress, length: int, seed: int, filters: Filters, at_once: int
    ) -> Iterator[tuple[Drawn, Progress]]:
        pace, samples = Pace(predictor.kernels.num_threads), progress.samples
        for start in range(0, length, at_once):
            state, num_chars = self._state(progress), min(at_once, length - start)
            draws = uniform_numbers(seed, samples, progress.num_drawn, num_chars)
            with pace.timed(num_chars) as threads:
                ids, after = write(predictor, state, draws, filters, threads=threads)
            progress = Progress(samples, progress.num_drawn + num_chars, ids, state, after)
            yield ids, progress

    def _write_singly(
        self, progress: Progress, length: int, seed: int, filters: Filters
    ) -> Iterator[tuple[Drawn, Progress]]:
        samples, rows = progress.samples, self._rows(progress.samples)
        block = range(samples[0] - rows.start, samples[0] - rows.start + self._num_rows(samples))
        draws = uniform_draws(seed, block, start=progress.num_drawn)
        for _ in range(length):
            state, logits = self._settled(progress)
            ids = draw_ids(logits, next(draws), self.vocabulary, filters)[None]
            # It is read when more is asked for, because nothing may come after it.
            progress = Progress(samples, progress.num_drawn + 1, ids, state)
            yield ids[:, rows], progress

    def _read(self, ids: Ids, state: Any, samples: range, num_drawn: int) -> Progress:
        """Read ids in parts that fit into memory, whatever their number."""
        rows = self._num_rows(samples)
        before, piece, logits = state, ids[:, None], None
        for start in range(0, len(ids), PREFIX_CHARS_AT_ONCE):
            piece = np.repeat(ids[start : start + PREFIX_CHARS_AT_ONCE, None], rows, axis=1)
            before = state
            logits, state = self.predictor.read(piece, state)
        return Progress(samples, num_drawn, piece, before, state, logits)

    def _state(self, progress: Progress) -> Any:
        return self._settled(progress)[0] if progress.state is None else progress.state

    def _settled(self, progress: Progress) -> tuple[Any, Floats]:
        """Return the state of the texts and their logits; what was drawn last is read for them where necessary."""
        if progress.logits is not None:
            return progress.state, progress.logits
        logits, state = self.predictor.read(progress.last, progress.before)
        return state, logits

    def _num_rows(self, samples: range) -> int:
        return len(samples) if self.predictor.is_batch_invariant else BLOCK_ROWS

    def _rows(self, samples: range) -> slice:
        """Return which rows the samples are in: all, or those of their places in their block."""
        first = 0 if self.predictor.is_batch_invariant else samples[0] % BLOCK_ROWS
        return slice(first, first + len(samples))


def _repeated(state: Any, rows: int) -> Any:
    return tuple(np.broadcast_to(part, (len(part), rows, part.shape[2])) for part in state)
