"""Code ids in the bits that a model predicts them with, and decode them: a range coder of the library constriction.

Both directions give the coder the same numbers. A batch-invariant model, such as one run by the kernels, returns the
same bits for single steps and for pieces, so that the encoder may read pieces; every other one takes single steps in
both directions, on one thread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.coding.coded_file import PROBE_BYTES
from charlm.coding.packing import DamagedError
from charlm.errors import ConfigError, DivergedError
from charlm.networks.costs import DIVERGED
from charlm.networks.predictor import Floats, IdArray, Predictor

MISSING = "coding files needs the package constriction, which is not installed: pip install 'charlm[coder]'"
CHARS_AT_ONCE = 2048
WORD_BYTES = 4
# How many characters are read to find out whether a machine computes the same bits as another.
PROBE_CHARS = 64
PROBE_STEP = 7919


def encode_ids(
    predictor: Predictor,
    ids: IdArray,
    vocab_size: int,
    *,
    boundary: int | None = None,
    report: Callable[[int], None] | None = None,
) -> bytes:
    """Return the code of a text.

    Args:
        predictor: the model.
        ids: the text in the model's reading order, (N,), at least one character; that of items begins with a boundary,
            which is not coded.
        vocab_size: V.
        boundary: the boundary before each item, from which on the model reads from its initial state; None for a
            running text, whose first character is coded as though all were equally likely.
        report: called now and then with the number of characters done.
    Raises:
        ConfigError: where constriction is not installed.
        DivergedError: if a probability is not a number.
    """
    categorical, queue = _constriction()
    encoder = queue.RangeEncoder()
    if boundary is None:
        encoder.encode(int(ids[0]), categorical(np.ones(vocab_size), perfect=False))
    done = 1
    with _threads_of(predictor):
        for logits, targets in _predictions(predictor, ids, boundary):
            for row, target in zip(logits, targets.tolist(), strict=True):
                encoder.encode(target, categorical(_weights(row), perfect=False))
            done += len(targets)
            if report and (len(targets) > 1 or done % CHARS_AT_ONCE == 0):
                report(done)
    # The last word often ends in zeros, which the decoder adds again.
    return encoder.get_compressed().astype(">u4").tobytes().rstrip(b"\0")


def decode_ids(
    predictor: Predictor,
    code: bytes,
    number: int,
    vocab_size: int,
    *,
    boundary: int | None = None,
    report: Callable[[int], None] | None = None,
) -> npt.NDArray[np.int64]:
    """Return the text that `encode_ids` was given.

    Args:
        predictor: the model.
        code: what `encode_ids` returned.
        number: N.
        vocab_size: V.
        boundary: as it was given.
        report: called now and then with the number of characters done.
    Raises:
        ConfigError: where constriction is not installed.
        DivergedError: if a probability is not a number.
        DamagedError: for a code that no text has.
    """
    categorical, queue = _constriction()
    words = np.frombuffer(code + bytes(-len(code) % WORD_BYTES), ">u4").astype(np.uint32)
    decoder = queue.RangeDecoder(words)
    ids = np.empty(number, np.int64)
    state: Any = None
    try:
        ids[0] = decoder.decode(categorical(np.ones(vocab_size), perfect=False)) if boundary is None else boundary
        with _threads_of(predictor):
            for place in range(1, number):
                if state is None or ids[place - 1] == boundary:
                    state = predictor.initial_state(1)
                logits, state = predictor.predict(ids[place - 1 : place, None], state)
                ids[place] = decoder.decode(categorical(_weights(logits[0, 0]), perfect=False))
                if report and place % CHARS_AT_ONCE == 0:
                    report(place)
    except AssertionError as error:
        # Constriction asserts that what it decodes could have been encoded.
        raise DamagedError("its code is that of no text") from error
    return ids


def probe(predictor: Predictor, vocab_size: int) -> bytes:
    """Return two bytes that differ where a model, NumPy or constriction computes other bits."""
    ids = np.arange(PROBE_CHARS, dtype=np.int64) * PROBE_STEP % vocab_size
    digest = hashlib.sha256()
    with _threads_of(predictor):
        for logits, _ in _predictions(predictor, ids, None):
            for row in logits:
                digest.update(row.tobytes() + _weights(row).tobytes())
    digest.update(encode_ids(predictor, ids, vocab_size))
    return digest.digest()[:PROBE_BYTES]


def _predictions(predictor: Predictor, ids: IdArray, boundary: int | None) -> Iterator[tuple[Floats, IdArray]]:
    """Yield the logits of each character after the first, (T, V), with the characters, (T,)."""
    given = np.asarray(ids, np.int64)
    size = CHARS_AT_ONCE if predictor.is_batch_invariant else 1
    last = len(given) - 1
    begins = set[int]() if boundary is None else set(np.flatnonzero(given[:last] == boundary).tolist())
    state: Any = predictor.initial_state(1)
    for start, stop in pairwise([*sorted({*range(0, last, size), *begins}), last]):
        if start in begins:
            state = predictor.initial_state(1)
        logits, state = predictor.predict(given[start:stop, None], state)
        yield logits[:, 0], given[start + 1 : stop + 1]


def _weights(logits: Floats) -> npt.NDArray[np.float64]:
    """Return the probabilities that logits (V,) stand for, up to a common factor, computed alike for one row each."""
    with np.errstate(invalid="ignore"):
        weights = np.exp(np.subtract(logits, logits.max(), dtype=np.float64))
    if not np.isfinite(weights.sum()):
        raise DivergedError(DIVERGED)
    return weights


def _constriction() -> tuple[Any, Any]:
    """Return constriction's categorical model and its module of range coders."""
    if find_spec("constriction") is None:
        raise ConfigError(MISSING)
    stream = import_module("constriction").stream
    return stream.model.Categorical, stream.queue


def _threads_of(predictor: Predictor) -> AbstractContextManager[None]:
    """Return what keeps torch to one thread, because with more of them the last bits may differ."""
    if predictor.is_batch_invariant:
        return nullcontext()
    # Only networks that torch runs need this.
    from charlm.networks.modes import single_threaded

    return single_threaded()
