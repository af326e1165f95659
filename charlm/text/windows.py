"""The two sampling iterators, which cut a text into windows whose order is a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlm.errors import TextError
from charlm.settings.corpus import SamplingSettings
from charlm.text.vocabulary import Ids

# The target of no character, which torch's cross entropy leaves out.
PADDING = -100
Starts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Window:
    """The characters that one step reads.

    Args:
        inputs: (T, B).
        targets: the inputs moved on by one character, (T, B); PADDING after the end of an item.
        beyond: the characters after the targets, (lookahead, B), which are not scored.
        starts_anew: whether all rows start from the initial state, because items begin there.
        num_padded: how many of the targets are padding.
    """

    inputs: Ids
    targets: Ids | npt.NDArray[np.int64]
    beyond: Ids
    starts_anew: bool = False
    num_padded: int = 0

    @property
    def num_predicted(self) -> int:
        """How many characters it predicts."""
        return self.targets.size - self.num_padded


def num_windows(num_chars: int, sampling: SamplingSettings, lookahead: int = 0) -> int:
    """Return how many windows (T, B) an epoch has, whatever its random offset.

    Args:
        num_chars: length of the text.
        sampling: how it is cut.
        lookahead: how many characters must follow each window.
    Raises:
        TextError: for a text that is too short for one.
    """
    batch_size, seq_len = sampling.batch_size, sampling.seq_len
    num_targets = num_chars - 1 - lookahead
    if sampling.method == "consecutive":
        count = num_targets // batch_size // seq_len
    else:
        count = num_targets // seq_len // batch_size
    if count < 1:
        needed = batch_size * seq_len + 1 + lookahead
        beyond = f" and {lookahead:,} characters of model.lookahead" if lookahead else ""
        raise TextError(
            f"the training split has {num_chars:,} characters, and one window of batch_size {batch_size} x seq_len "
            f"{seq_len}{beyond} needs {needed:,}: {fitting_options(num_chars, sampling, lookahead) or 'give more text'}"
        )
    return count


def fitting_options(num_chars: int, sampling: SamplingSettings, lookahead: int = 0) -> str:
    """Return options, near those asked for, that cut a short text into several windows; empty if none can.

    Example: `--set sampling.batch_size=4 --set sampling.seq_len=16 fits`.
    """
    num_targets = num_chars - 1 - lookahead
    if num_targets < 1:
        return ""
    seq_len = min(sampling.seq_len, max(1, num_targets // 8))
    batch_size = min(sampling.batch_size, max(1, num_targets // (4 * seq_len)))
    return f"--set sampling.batch_size={batch_size} --set sampling.seq_len={seq_len} fits"


def num_dropped(num_chars: int, sampling: SamplingSettings, lookahead: int = 0) -> int:
    """Return how many targets an epoch leaves out: at the ends of streams, in an unfinished batch, or as lookahead."""
    return num_chars - 1 - num_windows(num_chars, sampling, lookahead) * sampling.batch_size * sampling.seq_len


def read_windows(
    ids: Ids, sampling: SamplingSettings, *, seed: int, epoch: int, lookahead: int = 0, start: int = 0
) -> Iterator[Window]:
    """Yield an epoch's windows from number `start` on, a pure function of (seed, epoch, start).

    Consecutive sampling reads B contiguous streams side by side, so that each window of a stream begins where the last
    one ended. Random sampling takes non-overlapping windows from a random offset, shuffled by (seed, epoch).

    Args:
        ids: the text, (N,); a memory-mapped one is read one window at a time.
        sampling: how it is cut.
        seed: random seed of the order.
        epoch: number of the epoch, from 0.
        lookahead: how many characters must follow each window.
        start: how many windows to leave out at the start of the epoch.
    Raises:
        TextError: for a text that is too short for one window.
    """
    rows = _window_starts(len(ids), sampling, seed=seed, epoch=epoch, lookahead=lookahead, start=start)
    yield from cut_windows(ids, rows, sampling.seq_len, lookahead)


def _window_starts(
    num_chars: int, sampling: SamplingSettings, *, seed: int, epoch: int, lookahead: int = 0, start: int = 0
) -> Iterator[Starts]:
    """Yield where each window's streams start in the text, (B,); see `read_windows`."""
    batch_size, seq_len = sampling.batch_size, sampling.seq_len
    count = num_windows(num_chars, sampling, lookahead)
    num_targets = num_chars - 1 - lookahead
    if sampling.method == "consecutive":
        stream_starts = np.arange(batch_size, dtype=np.int64) * (num_targets // batch_size)
        yield from (stream_starts + seq_len * number for number in range(start, count))
        return
    generator = np.random.default_rng([seed, epoch])
    # The offset never costs a whole batch, so that every epoch has equally many.
    slack = num_targets - count * batch_size * seq_len
    offset = int(generator.integers(min(seq_len, slack + 1)))
    available = (num_targets - offset) // seq_len
    # This is the only array over a whole epoch, so it has the narrowest type; the order does not depend on the type.
    order = np.arange(available, dtype=np.min_scalar_type(available))
    generator.shuffle(order)
    for number in range(start, count):
        yield offset + seq_len * order[number * batch_size :][:batch_size].astype(np.int64)


def cut_windows(ids: Ids, starts: Iterable[Starts], seq_len: int, lookahead: int = 0) -> Iterator[Window]:
    """Yield the windows that start at `starts`, each (B,)."""
    steps = np.arange(seq_len + 1 + lookahead, dtype=np.int64)[:, None]
    for row in starts:
        text = ids[steps + row]  # (T + 1 + lookahead, B)
        yield Window(text[:seq_len], text[1 : seq_len + 1], text[seq_len + 1 :])
