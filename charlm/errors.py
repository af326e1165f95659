"""Everything a user can cause, each kind with its exit code.

0 is success and 1 a bug of ours; 129, 130 and 143 are a run ended by a lost terminal, an interrupt and a request to
terminate, 141 is a closed pipe.
"""

from __future__ import annotations

import errno
import re

try:
    import resource
except ImportError:  # Windows has no such limits.
    resource = None

RLIM_INFINITY = -1
# Torch's words where memory ran out: on the CPU, on a GPU, and those of C++.
NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory|bad_alloc|Cannot allocate memory", re.I)
BYTES_ASKED = re.compile(r"(?:allocate|allocated?:?) ([\d.]+) ?(bytes|[KMGTPE]iB)", re.I)
UNITS = {"bytes": 1} | {f"{prefix}iB": 1 << 10 * power for power, prefix in enumerate("KMGTPE", 1)}
# Of a place that takes no more bytes: a disk, a quota, the longest file there may be.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What ends a run from outside, with its exit code.
STOP_CODES = {"interrupt": 130, "terminate": 143, "hangup": 129}


def printable(text: str, limit: int = 60) -> str:
    """Return a text that may come from anybody, fit for a message: control characters escaped, its middle left out.

    Args:
        limit: how many characters are left, about.
    """
    if len(text) > limit:
        text = f"{text[: 2 * limit // 3]}...{text[len(text) - limit // 3 :]}"
    escaped = (each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return "".join(escaped) or "''"


def reason_of(error: OSError) -> str:
    """Return why the operating system refused something, in its own words; of a limit of the shell, which it is."""
    reason = (error.strerror or str(error)).lower()
    if error.errno != errno.EFBIG or resource is None:
        return reason
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit == resource.RLIM_INFINITY:
        return f"{reason} for its file system"
    return f"{reason}: the shell lets a file have {limit:,} bytes (ulimit -f)"


def out_of_memory(error: BaseException) -> OutOfMemoryError | None:
    """Return what to tell the user of memory that ran out, with the bytes that were asked for; None for another error.

    Python and NumPy raise a MemoryError for it, torch a RuntimeError with words of its own, and libraries that do not
    fit are an ImportError.
    """
    words = str(error)
    is_loading = isinstance(error, ImportError) and "failed to map segment" in words
    is_torchs = isinstance(error, RuntimeError) and NO_MEMORY.search(words)
    if not (isinstance(error, MemoryError) or is_loading or is_torchs):
        return None
    asked = BYTES_ASKED.search(words)
    needed = "the program itself needs more" if is_loading else "more is needed"
    if asked is not None:
        needed = f"{float(asked[1]) * UNITS[asked[2]]:,.0f} bytes more are needed"
    limit = memory_limit()
    has = "" if limit is None else f", and the shell lets this process have {limit:,} bytes (ulimit -v)"
    return OutOfMemoryError(
        f"there is not enough memory: {needed}{has}; raise the limit, end other programs, or take a smaller model, "
        "batch or text"
    )


def memory_limit() -> int | None:
    """Return how many bytes of addresses this process may have, None where nothing limits them."""
    limit = RLIM_INFINITY if resource is None else resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == RLIM_INFINITY else limit


class CharlmError(Exception):
    """Tell the user in one sentence what is wrong, where, and what to do; the base of all such errors."""

    exit_code = 1


class ConfigError(CharlmError):
    """Report wrong usage or configuration; one problem a line."""

    exit_code = 2


class OutOfMemoryError(ConfigError):
    """Report that something needs more memory than this process can have."""


class TextError(CharlmError):
    """Report a corpus, a prefix or another text that cannot be used."""

    exit_code = 3


class RunError(CharlmError):
    """Report a run or checkpoint that is missing, damaged or incompatible."""

    exit_code = 4


class DivergedError(CharlmError):
    """Report a loss that is no longer finite."""

    exit_code = 5


class StorageError(CharlmError):
    """Report failed input or output: a full disk, a read-only folder, a broken download."""

    exit_code = 6


class RunInUseError(CharlmError):
    """Report a run folder that another process owns, or has taken over."""

    exit_code = 7


class FailedTrialsError(CharlmError):
    """Report a sweep that has ended and some of whose trials have failed."""

    exit_code = 8


class StoppedError(CharlmError):
    """Report a run ended by a signal, or one that a signal came before.

    Args:
        message: what was saved, and where.
        word: interrupt, terminate or hangup.
    """

    def __init__(self, message: str, word: str) -> None:
        super().__init__(message)
        self.exit_code = STOP_CODES[word]


class CharlmWarning(UserWarning):
    """Tell the user in one sentence what was done differently than asked for."""


class UnknownCharactersWarning(CharlmWarning):
    """Tell which characters of a text the model does not know, and what became of them."""
